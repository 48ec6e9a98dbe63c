//! Which route takes what body.

use http::request::Parts;

use crate::service::answer::{self, Answer};
use crate::service::body::Unread;
use crate::service::delivery::Delivery;
use crate::service::events;
use crate::service::request::{Media, media};
use crate::service::routes::Admitted;
use crate::service::routes::table::Route;

/// What is to be done about the body.
pub(in crate::service) enum BodyRule {
    /// JSON, or 415.
    Json,
    /// None is needed; one that is sent must be JSON.
    JsonOrNone,
    /// None is needed; one that is sent must be JSON or a form.
    JsonFormOrNone,
    /// A form, or 415.
    Form,
    /// Not looked at.
    Unread,
}

impl BodyRule {
    fn takes(&self, media: Media) -> bool {
        match self {
            Self::Json | Self::JsonOrNone => media == Media::Json,
            Self::Form => media == Media::Form,
            Self::JsonFormOrNone | Self::Unread => true,
        }
    }

    fn is_content_with_none(&self) -> bool {
        matches!(self, Self::JsonOrNone | Self::JsonFormOrNone | Self::Unread)
    }

    fn description(&self) -> &'static str {
        match self {
            Self::Json | Self::JsonOrNone => "the body must be application/json",
            Self::Form => "the body must be application/x-www-form-urlencoded",
            Self::JsonFormOrNone | Self::Unread => {
                "the body must be application/json or application/x-www-form-urlencoded"
            }
        }
    }
}

impl Admitted {
    pub(in crate::service) fn body_rule(&self, delivery: Delivery) -> BodyRule {
        match self.route {
            Route::Login => BodyRule::Json,
            Route::Revoke => BodyRule::Form,
            Route::Refresh | Route::Logout if delivery.uses_body() => BodyRule::JsonFormOrNone,
            Route::Refresh | Route::Logout | Route::LogoutAll | Route::LogoutOthers => BodyRule::JsonOrNone,
            Route::Sessions | Route::Session(_) | Route::Jwks => BodyRule::Unread,
        }
    }

    pub(in crate::service) fn unsupported_media_type(&self, rule: &BodyRule) -> Answer {
        events::bad_body(self.route.name(), rule.description());
        answer::unsupported_media_type(rule.description())
    }

    pub(in crate::service) fn unread(&self, unread: &Unread) -> Answer {
        match unread {
            Unread::TooLarge => {
                events::bad_body(self.route.name(), "it is longer than 16 KiB");
                answer::body_too_large()
            }
            Unread::Broken => {
                events::bad_body(self.route.name(), "it broke off");
                answer::invalid_request()
            }
        }
    }
}

/// Whether the body may be of this type, before it is read.
pub(in crate::service) fn accepts(rule: &BodyRule, parts: &Parts, certainly_not_empty: bool) -> bool {
    rule.is_content_with_none() && !certainly_not_empty
        || matches!(rule, BodyRule::Unread)
        || media(&parts.headers).is_some_and(|media| rule.takes(media))
}
