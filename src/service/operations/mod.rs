//! What the service does with sessions, before HTTP. The routes and the handle [`Sessions`](crate::Sessions) both stand
//! on it. Each file adds its operations to [`Core`](crate::service::core::Core).

mod end;
mod find;
mod grant;
mod open;
mod refresh;

pub(super) use self::grant::Grant;
pub(super) use self::refresh::Holder;
