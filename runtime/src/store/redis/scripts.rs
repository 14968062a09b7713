//! The Lua scripts, and how a call of one is spelled: by its hash, and in full where the server does not know that.

use redis::{Arg, Cmd, ErrorKind, RedisResult, ServerErrorKind, ToRedisArgs, Value, aio::ConnectionLike};
use std::sync::LazyLock;

/// A script and its hash.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

macro_rules! scripts {
    ($($(#[$meta:meta])* $name:ident = $file:literal,)+) => {
        $($(#[$meta])* pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("lua/common.lua"), include_str!($file))));)+
    };
}

scripts! {
    LOAD = "lua/load.lua",
    CREATE = "lua/create.lua",
    COMMIT = "lua/commit.lua",
    DELETE = "lua/delete.lua",
    SWEEP = "lua/sweep.lua",
    PROBE = "lua/probe.lua",
    BY_OWNER = "lua/by_owner.lua",
    DELETE_BY_OWNER = "lua/delete_by_owner.lua",
    #[cfg(feature = "redis-cluster")]
    LIST = "lua/list.lua",
    #[cfg(feature = "redis-cluster")]
    RELIST = "lua/relist.lua",
    #[cfg(feature = "redis-cluster")]
    LISTED = "lua/listed.lua",
    #[cfg(feature = "redis-cluster")]
    UNLIST = "lua/unlist.lua",
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }
}

/// One call, which may be made more than once.
pub(super) struct Call {
    script: Option<&'static Script>,
    command: Cmd,
}

impl Call {
    /// A script over these keys.
    pub(super) fn script(script: &'static Script, keys: &[impl AsRef<[u8]>]) -> Self {
        let mut command = Cmd::with_capacity(32, 512);
        command.arg("EVALSHA").arg(&script.hash).arg(keys.len());
        for key in keys {
            command.arg(key.as_ref());
        }
        Self { script: Some(script), command }
    }

    pub(super) fn command(name: &str) -> Self {
        Self { script: None, command: redis::cmd(name) }
    }

    pub(super) fn arg(&mut self, value: impl ToRedisArgs) -> &mut Self {
        self.command.arg(value);
        self
    }

    /// Sends it. A server that was restarted or whose scripts were flushed gets the text once more.
    pub(super) async fn over(&self, connection: &mut impl ConnectionLike) -> RedisResult<Value> {
        match self.command.query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.in_full().query_async(connection).await
            }
            answer => answer,
        }
    }

    #[cfg(feature = "redis-cluster")]
    pub(super) fn as_command(&self) -> &Cmd {
        &self.command
    }

    /// The same call by the script's text.
    pub(super) fn in_full(&self) -> Cmd {
        let Some(script) = self.script else { return self.command.clone() };
        let mut command = Cmd::with_capacity(32, 512 + script.text.len());
        command.arg("EVAL").arg(script.text);
        for arg in self.command.args_iter().skip(2) {
            if let Arg::Simple(value) = arg {
                command.arg(value);
            }
        }
        command
    }
}
