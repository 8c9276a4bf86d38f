//! Which of the caller's variables reach a build, and which of them enter its key.
//!
//! [`RULES`] is the whole policy; the first rule that matches decides, and what no rule names is
//! [`Class::Declared`]. The values are the caller's business: this module sees only names. It can't fail.

use crate::pattern;

/// What happens to a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Carrack sets it itself; the caller's value is used, at most, to find things before the build.
    Ours,
    /// A secret, or the way to one. May be given to a step that only downloads. Never enters a key, and is seen by
    /// the compile step only if `build-env` names it.
    Credential,
    /// About this terminal, session or calling process: neither passed nor keyed.
    Noise,
    /// Passed, and without influence on the result: how to reach the network, how much to do at once, what to log.
    Passed,
    /// Passed, and always part of the key.
    Keyed,
    /// Passed, and part of the key if the build declared it (`env!`, `rerun-if-env-changed`).
    Declared,
}

/// What cargo sets for every rustc or build script.
const SET_BY_CARGO: &[&str] = &[
    "CARGO",
    "CARGO_MANIFEST_*",
    "CARGO_PKG_*",
    "CARGO_CRATE_NAME",
    "CARGO_BIN_NAME",
    "CARGO_BIN_EXE_*",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_CFG_*",
    "CARGO_FEATURE_*",
    "OUT_DIR",
];

/// Names (`*` stands for any characters) and what happens to them; the first match decides.
pub const RULES: &[(Class, &[&str])] = &[
    (
        Class::Ours,
        &[
            "CARGO_HOME",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET_DIR",
            "CARGO_BUILD_BUILD_DIR",
            "RUSTUP_TOOLCHAIN",
            // How cargo talks: Carrack reads it and does the talking.
            "CARGO_TERM_*",
        ],
    ),
    // `build-env` can name any of these, with the value or with `true`.
    (
        Class::Credential,
        &[
            "*_TOKEN",
            "*_TOKEN_*",
            "TOKEN",
            "*SECRET*",
            "*PASSWORD*",
            "*PASSWD*",
            "*PASSPHRASE*",
            "*CREDENTIAL*",
            "*_KEY",
            "*_API_KEY_*",
            "*_PRIVATE_KEY*",
            "AWS_*",
            "AZURE_*",
            "GOOGLE_APPLICATION_*",
            "DOCKER_AUTH_CONFIG",
            "DATABASE_URL",
            "NETRC",
            "SSH_AUTH_SOCK",
            "SSH_AGENT_PID",
            "SSH_ASKPASS*",
            "GIT_ASKPASS",
            "GIT_SSH*",
            "GIT_CONFIG*",
            "CARGO_REGISTRY_*CREDENTIAL_PROVIDER*",
        ],
    ),
    (
        Class::Noise,
        &[
            "_",
            "PWD",
            "OLDPWD",
            "SHLVL",
            "SHELL",
            "TERM",
            "TERM_*",
            "TERMINFO*",
            "TERMCAP",
            "COLORTERM",
            "COLORFGBG",
            "COLUMNS",
            "LINES",
            "LS_COLORS",
            "LESS*",
            "PAGER",
            "EDITOR",
            "VISUAL",
            "BROWSER",
            "PS1",
            "PROMPT*",
            "NO_COLOR",
            "CLICOLOR*",
            "FORCE_COLOR",
            "HIST*",
            "WINDOWID",
            "WT_*",
            "TMUX*",
            "STY",
            "KITTY_*",
            "ALACRITTY_*",
            "ITERM_*",
            "KONSOLE_*",
            "VTE_*",
            "VSCODE_*",
            "GNOME_*",
            "KDE_*",
            "GTK_*",
            "QT_*",
            "DESKTOP_*",
            "SESSION_MANAGER",
            "SSH_*",
            "XDG_*",
            "DBUS_*",
            "DISPLAY",
            "XAUTHORITY",
            "WAYLAND_DISPLAY",
            "WSL*",
            "INVOCATION_ID",
            "JOURNAL_STREAM",
            "SYSTEMD_*",
            "MAIL",
            "MOTD_*",
            "SUDO_*",
            "TMPDIR",
            "TMP",
            "TEMP",
            "DIRENV_*",
            "CARRACK_*",
            // Set by cargo and rustup as well, but not for rustc.
            "OPT_LEVEL",
            "PROFILE",
            "DEBUG",
            "RUST_RECURSION_COUNT",
            "NUM_JOBS",
        ],
    ),
    // A caller that has these was itself run by cargo.
    (Class::Noise, SET_BY_CARGO),
    (
        Class::Passed,
        &[
            "PATH",
            "HOME",
            "USER",
            "LOGNAME",
            "LANG",
            "LANGUAGE",
            "LC_*",
            "TZ",
            "*_PROXY",
            "*_proxy",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "CURL_CA_BUNDLE",
            "REQUESTS_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS",
            "GIT_SSL_*",
            "CARGO_HTTP_*",
            "CARGO_NET_*",
            "CARGO_REGISTRIES_*",
            "CARGO_REGISTRY_*",
            "CARGO_BUILD_JOBS",
            "CARGO_MAKEFLAGS",
            "CARGO_LOG*",
            "CARGO_FUTURE_INCOMPAT_*",
            "CARGO_CACHE_*",
            "MAKEFLAGS",
            "MFLAGS",
            "MAKELEVEL",
            "CMAKE_BUILD_PARALLEL_LEVEL",
            "RUST_BACKTRACE",
            "RUST_LIB_BACKTRACE",
            "RUST_LOG*",
            // Which toolchain they lead to is part of the key by itself.
            "RUSTUP_*",
        ],
    ),
    (
        Class::Keyed,
        &[
            "CARGO_*",
            "RUST*",
            "SOURCE_DATE_EPOCH",
            "CC",
            "CC_*",
            "CXX",
            "CXX_*",
            "CFLAGS*",
            "CXXFLAGS*",
            "CPPFLAGS*",
            "CPATH",
            "*_INCLUDE_PATH",
            "CRATE_CC_*",
            "CXXSTDLIB*",
            "AR",
            "AR_*",
            "ARFLAGS*",
            "RANLIB*",
            "NM",
            "AS",
            "STRIP",
            "LD",
            "LD_*",
            "LDFLAGS*",
            "LIBRARY_PATH",
            "PKG_CONFIG*",
            "HOST_*",
            "TARGET_*",
            "*_DIR",
            "*_STATIC",
            "*_DYNAMIC",
            "*_NO_VENDOR",
            "*_NO_PKG_CONFIG",
            "*_SYS_*",
            "LIBCLANG_*",
            "LLVM_CONFIG_PATH",
            "CLANG_PATH",
            "BINDGEN_*",
            "CMAKE*",
            "PROTOC*",
            "SQLX_OFFLINE*",
            "VERGEN_*",
        ],
    ),
];

/// What happens to the variable `name`.
pub fn classify(name: &str) -> Class {
    RULES
        .iter()
        .find(|(_, patterns)| patterns.iter().any(|pattern| pattern::matches(pattern, name)))
        .map_or(Class::Declared, |(class, _)| *class)
}

/// Whether cargo sets `name` for every rustc or build script, so that the caller's value never matters to them.
pub fn is_set_by_cargo(name: &str) -> bool {
    SET_BY_CARGO.iter().any(|pattern| pattern::matches(pattern, name))
}

#[cfg(test)]
mod tests {
    use super::Class::*;
    use super::*;

    #[test]
    fn every_kind_of_variable_has_its_class() {
        for (name, class) in [
            ("RUSTFLAGS", Keyed),
            ("CARGO_ENCODED_RUSTFLAGS", Keyed),
            ("CARGO_PROFILE_RELEASE_LTO", Keyed),
            ("CARGO_BUILD_TARGET", Keyed),
            ("CARGO_INCREMENTAL", Keyed),
            ("RUSTC_WRAPPER", Keyed),
            ("CC_x86_64_unknown_linux_musl", Keyed),
            ("TARGET_CFLAGS", Keyed),
            ("OPENSSL_LIB_DIR", Keyed),
            ("OPENSSL_NO_VENDOR", Keyed),
            ("LD_LIBRARY_PATH", Keyed),
            ("SOURCE_DATE_EPOCH", Keyed),
            ("CARGO_REGISTRY_TOKEN", Credential),
            ("CARGO_REGISTRIES_ACME_TOKEN", Credential),
            ("CARGO_REGISTRIES_ACME_INDEX", Passed),
            ("GH_TOKEN", Credential),
            ("OPENAI_API_KEY", Credential),
            ("DB_PASSWORD", Credential),
            ("AWS_REGION", Credential),
            ("SSH_AUTH_SOCK", Credential),
            ("SSH_CONNECTION", Noise),
            ("XDG_RUNTIME_DIR", Noise),
            ("PWD", Noise),
            ("CARGO_PKG_VERSION", Noise),
            ("CARGO_MANIFEST_DIR", Noise),
            ("HTTPS_PROXY", Passed),
            ("no_proxy", Passed),
            ("SSL_CERT_DIR", Passed),
            ("CARGO_HTTP_CAINFO", Passed),
            ("CARGO_BUILD_JOBS", Passed),
            ("PATH", Passed),
            ("RUST_LOG", Passed),
            ("CARGO_HOME", Ours),
            ("CARGO_TERM_COLOR", Ours),
            ("RUSTUP_TOOLCHAIN", Ours),
            ("GIT_HASH", Declared),
            ("MY_BUILD_NUMBER", Declared),
        ] {
            assert_eq!(classify(name), class, "{name}");
        }
    }
}
