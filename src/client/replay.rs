//! [`Replay`]: which requests can be sent a second time.

use http_body::Body;

/// Makes a second request body of the first, for the one retry after a 401. With DPoP there may be another one, for the
/// nonce that the server wants: then a third is made of the second.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say whether a body `{B}` may be sent again",
    note = "the default sends empty bodies again and needs `B: http_body::Body + Default`; give the layer a closure \
            with `with_replay(|body: &B| Some(body.clone()))`, or take the retry away with `without_replay()`"
)]
pub trait Replay<B>: Clone {
    /// A copy to be sent again, or `None` if there can be none. Called before the first is sent.
    fn replay(&self, body: &B) -> Option<B>;
}

/// Sends requests without a body again. The default.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReplayEmpty;

impl<B: Body + Default> Replay<B> for ReplayEmpty {
    fn replay(&self, body: &B) -> Option<B> {
        (body.is_end_stream() || body.size_hint().exact() == Some(0)).then(B::default)
    }
}

/// Sends no request again.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoReplay;

impl<B> Replay<B> for NoReplay {
    fn replay(&self, _: &B) -> Option<B> {
        None
    }
}

/// Asks a function of the application.
#[derive(Debug, Clone, Copy)]
pub struct ReplayWith<F>(pub(super) F);

impl<F: Fn(&B) -> Option<B> + Clone, B> Replay<B> for ReplayWith<F> {
    fn replay(&self, body: &B) -> Option<B> {
        (self.0)(body)
    }
}
