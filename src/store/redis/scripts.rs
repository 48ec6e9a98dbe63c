//! The scripts, one for each operation on sessions. They stand in the `.lua` files beside this one.

use std::sync::LazyLock;

use ::redis::Script;

pub(super) struct Scripts {
    pub(super) now: Script,
    pub(super) create: Script,
    pub(super) rotate: Script,
    pub(super) read: Script,
    pub(super) revoke: Script,
    pub(super) revoke_all: Script,
    pub(super) mark_used: Script,
}

macro_rules! script {
    ($name:literal) => {
        Script::new(concat!(include_str!("prelude.lua"), include_str!($name)))
    };
}

pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    now: script!("now.lua"),
    create: script!("create.lua"),
    rotate: Script::new(concat!(
        include_str!("rotate.lua"),
        include_str!("prelude.lua"),
        include_str!("rotate_end.lua")
    )),
    read: script!("read.lua"),
    revoke: script!("revoke.lua"),
    revoke_all: script!("revoke_all.lua"),
    mark_used: script!("mark_used.lua"),
});
