//! Reads from the output of a failed build why it failed, as far as something can be done about it: a lock file that
//! is out of date, a network that is not there, a full disk, a toolchain without the target, and above all the system
//! packages that `-sys` crates need, by their names in Debian.
//!
//! [`SYSTEM_PACKAGES`] and [`TOOLS`] are the tables. They name what a crate needs when it does not bring its own copy
//! (`libsqlite3-sys` without `bundled`). Everything is recognised by the texts that cargo, rustc, linkers, build
//! scripts and the crates `pkg-config`, `cc`, `cmake`, `clang-sys` and `prost-build` print; what is not recognised is
//! [`Diagnosis::Other`]. It can't fail, and it never installs anything.

use std::collections::BTreeSet;

use crate::messages;

/// Why a build failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diagnosis {
    /// The lock file would have to change, and `--locked` forbids it.
    LockNeedsUpdate,
    /// Something is not installed.
    MissingSystemPackage(MissingPackage),
    /// No manifest defines this profile.
    UnknownProfile {
        /// Its name.
        profile: String,
    },
    /// rustup has no standard library for this target.
    MissingTarget {
        /// Its triple.
        target: String,
    },
    /// Something would have to be downloaded, and `--offline` forbids it.
    Offline {
        /// The line that says so.
        evidence: String,
    },
    /// A registry or a repository did not answer.
    Network {
        /// The line that says so.
        evidence: String,
    },
    /// There is no space left on a disk.
    DiskFull {
        /// The line that says so.
        evidence: String,
    },
    /// The code does not compile; cargo has said all there is to say.
    CompileError,
    /// Something else.
    Other,
}

/// A system package that a build lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPackage {
    /// The crate that needs it, if that is known.
    pub crate_name: Option<String>,
    /// The Debian packages that bring it.
    pub debian: &'static [&'static str],
    /// The line that gave it away.
    pub evidence: String,
}

/// What one kind of system library is called.
#[derive(Debug, Clone, Copy)]
pub struct SystemPackage {
    /// Crates that link it.
    pub crates: &'static [&'static str],
    /// Its names for pkg-config.
    pub modules: &'static [&'static str],
    /// Its names for the linker, without `-l`.
    pub libraries: &'static [&'static str],
    /// The Debian packages with its headers.
    pub debian: &'static [&'static str],
}

const fn package(
    crates: &'static [&'static str],
    modules: &'static [&'static str],
    libraries: &'static [&'static str],
    debian: &'static [&'static str],
) -> SystemPackage {
    SystemPackage { crates, modules, libraries, debian }
}

/// System libraries, and who needs them.
pub const SYSTEM_PACKAGES: &[SystemPackage] = &[
    package(
        &["openssl-sys", "native-tls"],
        &["openssl", "libssl", "libcrypto"],
        &["ssl", "crypto"],
        &["libssl-dev", "pkg-config"],
    ),
    package(&["pq-sys", "libpq-sys"], &["libpq"], &["pq"], &["libpq-dev", "pkg-config"]),
    package(
        &["mysqlclient-sys"],
        &["mysqlclient", "libmariadb"],
        &["mysqlclient", "mariadb"],
        &["default-libmysqlclient-dev", "pkg-config"],
    ),
    package(&["libsqlite3-sys"], &["sqlite3"], &["sqlite3"], &["libsqlite3-dev", "pkg-config"]),
    package(&["libz-sys", "libz-ng-sys"], &["zlib"], &["z"], &["zlib1g-dev", "pkg-config"]),
    package(&["bzip2-sys"], &["bzip2"], &["bz2"], &["libbz2-dev", "pkg-config"]),
    package(&["lzma-sys", "liblzma-sys"], &["liblzma"], &["lzma"], &["liblzma-dev", "pkg-config"]),
    package(&["zstd-sys"], &["libzstd"], &["zstd"], &["libzstd-dev", "pkg-config"]),
    package(&["lz4-sys"], &["liblz4"], &["lz4"], &["liblz4-dev", "pkg-config"]),
    package(&["libgit2-sys"], &["libgit2"], &["git2"], &["libgit2-dev", "pkg-config"]),
    package(&["libssh2-sys"], &["libssh2"], &["ssh2"], &["libssh2-1-dev", "pkg-config"]),
    package(&["libssh-rs-sys"], &["libssh"], &["ssh"], &["libssh-dev", "pkg-config"]),
    package(&["curl-sys"], &["libcurl"], &["curl"], &["libcurl4-openssl-dev", "pkg-config"]),
    package(&["libnghttp2-sys"], &["libnghttp2"], &["nghttp2"], &["libnghttp2-dev", "pkg-config"]),
    package(&["alsa-sys"], &["alsa"], &["asound"], &["libasound2-dev", "pkg-config"]),
    package(&["libpulse-sys"], &["libpulse"], &["pulse"], &["libpulse-dev", "pkg-config"]),
    package(&["jack-sys"], &["jack"], &["jack"], &["libjack-dev", "pkg-config"]),
    package(&["libudev-sys"], &["libudev"], &["udev"], &["libudev-dev", "pkg-config"]),
    package(&["libdbus-sys", "dbus"], &["dbus-1"], &["dbus-1"], &["libdbus-1-dev", "pkg-config"]),
    package(&["libsystemd-sys", "systemd"], &["libsystemd"], &["systemd"], &["libsystemd-dev", "pkg-config"]),
    package(&["rdkafka-sys"], &["rdkafka"], &["rdkafka"], &["librdkafka-dev", "pkg-config"]),
    package(&["zmq-sys", "zeromq-src"], &["libzmq"], &["zmq"], &["libzmq3-dev", "pkg-config"]),
    package(&["librocksdb-sys"], &["rocksdb"], &["rocksdb"], &["librocksdb-dev"]),
    package(&["odbc-sys"], &["odbc"], &["odbc"], &["unixodbc-dev"]),
    package(&["openldap", "ldap-sys"], &["ldap"], &["ldap", "lber"], &["libldap-dev"]),
    package(
        &["libgssapi-sys", "cross-krb5"],
        &["krb5-gssapi", "krb5"],
        &["gssapi_krb5", "krb5"],
        &["libkrb5-dev", "pkg-config"],
    ),
    package(&["sasl2-sys"], &["libsasl2"], &["sasl2"], &["libsasl2-dev", "pkg-config"]),
    package(&["nettle-sys"], &["nettle", "hogweed"], &["nettle", "hogweed"], &["nettle-dev", "pkg-config"]),
    package(
        &["gpgme-sys", "libgpg-error-sys"],
        &["gpgme", "gpg-error"],
        &["gpgme", "gpg-error"],
        &["libgpgme-dev", "pkg-config"],
    ),
    package(
        &["libsodium-sys", "libsodium-sys-stable"],
        &["libsodium"],
        &["sodium"],
        &["libsodium-dev", "pkg-config"],
    ),
    package(&["pcsc-sys"], &["libpcsclite"], &["pcsclite"], &["libpcsclite-dev", "pkg-config"]),
    package(&["tss-esapi-sys"], &["tss2-sys", "tss2-esys"], &["tss2-esys"], &["libtss2-dev", "pkg-config"]),
    package(&["pcap", "pcap-sys"], &["libpcap"], &["pcap"], &["libpcap-dev"]),
    package(
        &["libusb1-sys", "libusb-sys"],
        &["libusb-1.0"],
        &["usb-1.0"],
        &["libusb-1.0-0-dev", "pkg-config"],
    ),
    package(
        &["hidapi"],
        &["hidapi-libusb", "hidapi-hidraw"],
        &["hidapi-libusb"],
        &["libudev-dev", "libusb-1.0-0-dev", "pkg-config"],
    ),
    package(
        &["freetype-sys", "servo-freetype-sys"],
        &["freetype2"],
        &["freetype"],
        &["libfreetype-dev", "pkg-config"],
    ),
    package(
        &["yeslogic-fontconfig-sys", "servo-fontconfig-sys"],
        &["fontconfig"],
        &["fontconfig"],
        &["libfontconfig-dev", "pkg-config"],
    ),
    package(&["expat-sys"], &["expat"], &["expat"], &["libexpat1-dev", "pkg-config"]),
    package(&["libxml"], &["libxml-2.0"], &["xml2"], &["libxml2-dev", "pkg-config"]),
    package(&["onig_sys"], &["oniguruma"], &["onig"], &["libonig-dev", "pkg-config"]),
    package(&["pcre2-sys"], &["libpcre2-8"], &["pcre2-8"], &["libpcre2-dev", "pkg-config"]),
    package(
        &["glib-sys", "gobject-sys", "gio-sys"],
        &["glib-2.0", "gobject-2.0", "gio-2.0"],
        &["glib-2.0", "gobject-2.0", "gio-2.0"],
        &["libglib2.0-dev", "pkg-config"],
    ),
    package(
        &["gtk-sys", "gdk-sys"],
        &["gtk+-3.0", "gdk-3.0"],
        &["gtk-3", "gdk-3"],
        &["libgtk-3-dev", "pkg-config"],
    ),
    package(&["gtk4-sys", "gdk4-sys"], &["gtk4"], &["gtk-4"], &["libgtk-4-dev", "pkg-config"]),
    package(&["cairo-sys-rs"], &["cairo"], &["cairo"], &["libcairo2-dev", "pkg-config"]),
    package(&["pango-sys"], &["pango"], &["pango-1.0"], &["libpango1.0-dev", "pkg-config"]),
    package(
        &["gdk-pixbuf-sys"],
        &["gdk-pixbuf-2.0"],
        &["gdk_pixbuf-2.0"],
        &["libgdk-pixbuf-2.0-dev", "pkg-config"],
    ),
    package(
        &["webkit2gtk-sys"],
        &["webkit2gtk-4.1"],
        &["webkit2gtk-4.1"],
        &["libwebkit2gtk-4.1-dev", "pkg-config"],
    ),
    package(
        &["gstreamer-sys"],
        &["gstreamer-1.0"],
        &["gstreamer-1.0"],
        &["libgstreamer1.0-dev", "pkg-config"],
    ),
    package(
        &["ffmpeg-sys-next"],
        &["libavutil", "libavcodec", "libavformat"],
        &["avutil", "avcodec", "avformat"],
        &[
            "libavutil-dev",
            "libavcodec-dev",
            "libavformat-dev",
            "libavfilter-dev",
            "libavdevice-dev",
            "libclang-dev",
            "pkg-config",
        ],
    ),
    package(
        &["xkbcommon", "xkbcommon-sys"],
        &["xkbcommon", "xkbcommon-x11"],
        &["xkbcommon", "xkbcommon-x11"],
        &["libxkbcommon-dev", "pkg-config"],
    ),
    package(
        &["wayland-sys"],
        &["wayland-client", "wayland-server", "wayland-egl"],
        &["wayland-client"],
        &["libwayland-dev", "pkg-config"],
    ),
    package(&["x11", "x11-dl"], &["x11"], &["X11"], &["libx11-dev", "pkg-config"]),
    package(&["xcb"], &["xcb"], &["xcb"], &["libxcb1-dev", "pkg-config"]),
    package(&["sdl2-sys"], &["sdl2"], &["SDL2"], &["libsdl2-dev", "pkg-config"]),
    package(&["v4l2-sys-mit"], &[], &["v4l2"], &["libv4l-dev", "libclang-dev"]),
    package(&["libseccomp-sys"], &["libseccomp"], &["seccomp"], &["libseccomp-dev"]),
    package(
        &["libbpf-sys"],
        &["libbpf", "libelf"],
        &["bpf", "elf"],
        &["libelf-dev", "zlib1g-dev", "pkg-config"],
    ),
    package(&["fuser", "fuse"], &["fuse3", "fuse"], &["fuse3", "fuse"], &["libfuse3-dev", "pkg-config"]),
    package(&["netcdf-sys"], &["netcdf"], &["netcdf"], &["libnetcdf-dev"]),
    package(&["hdf5-sys", "hdf5-metno-sys"], &["hdf5"], &["hdf5"], &["libhdf5-dev", "pkg-config"]),
    package(&["gdal-sys"], &["gdal"], &["gdal"], &["libgdal-dev", "pkg-config"]),
    package(&["proj-sys"], &["proj"], &["proj"], &["libproj-dev", "pkg-config"]),
    package(
        &["openblas-src", "blas-sys"],
        &["openblas"],
        &["openblas", "blas"],
        &["libopenblas-dev", "pkg-config"],
    ),
    package(
        &["tikv-jemalloc-sys", "jemalloc-sys"],
        &["jemalloc"],
        &["jemalloc"],
        &["make", "gcc", "libc6-dev"],
    ),
    package(&["aws-lc-sys", "aws-lc-fips-sys"], &[], &[], &["cmake", "gcc", "libc6-dev"]),
    package(&["ring"], &[], &[], &["gcc", "libc6-dev"]),
    package(&["clang-sys", "bindgen"], &[], &["clang"], &["libclang-dev"]),
    package(
        &["prost-build", "tonic-build", "tonic-prost-build", "protobuf-codegen"],
        &[],
        &[],
        &["protobuf-compiler"],
    ),
    package(&["cmake"], &[], &[], &["cmake"]),
    package(&[], &[], &["stdc++"], &["g++"]),
    package(&[], &[], &["c", "m", "rt", "pthread", "util", "dl"], &["libc6-dev"]),
];

/// Programs that builds start: texts that say one is missing, and the Debian packages that bring it.
///
/// A line has to hold all texts of one entry, in lower case.
pub const TOOLS: &[(&[&str], &[&str])] = &[
    (&["could not find `protoc`"], &["protobuf-compiler"]),
    (&["failed to find the protoc binary"], &["protobuf-compiler"]),
    (&["is `cmake` not installed?"], &["cmake"]),
    (&["missing dependency: cmake"], &["cmake"]),
    (&["unable to find libclang"], &["libclang-dev"]),
    (&["pkg-config command could not be found"], &["pkg-config"]),
    (&["could not run `pkg-config", "no such file"], &["pkg-config"]),
    (&["failed to find tool", "c++"], &["g++"]),
    (&["failed to find tool", "g++"], &["g++"]),
    (&["failed to find tool", "musl-gcc"], &["musl-tools"]),
    (&["linker `musl-gcc` not found"], &["musl-tools"]),
    (&["failed to find tool", "clang"], &["clang"]),
    (&["linker `clang` not found"], &["clang"]),
    (&["failed to find tool", "nasm"], &["nasm"]),
    (&["failed to find tool", "aarch64-linux-gnu"], &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]),
    (&["linker `aarch64-linux-gnu-gcc` not found"], &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]),
    (&["failed to find tool"], &["gcc", "libc6-dev"]),
    (&["linker `cc` not found"], &["gcc", "libc6-dev"]),
    (&["linker `gcc` not found"], &["gcc", "libc6-dev"]),
    (&["invalid linker name in argument '-fuse-ld=mold'"], &["mold"]),
    (&["cannot find 'ld'", "mold"], &["mold"]),
    (&["cannot find 'lld'"], &["lld"]),
    (&["cannot find 'ld'", "lld"], &["lld"]),
    (&["program not found: `perl`"], &["perl"]),
    (&["failed to execute", "\"perl\""], &["perl"]),
    (&["failed to execute", "\"make\""], &["make"]),
    (&["cannot find scrt1.o"], &["libc6-dev"]),
    (&["stdlib.h: no such file"], &["libc6-dev"]),
    (&["openssl/ssl.h: no such file"], &["libssl-dev"]),
    (&["python.h: no such file"], &["python3-dev"]),
];

/// Crates of [`SYSTEM_PACKAGES`] that compile a copy of their own where the system has none.
const OWN_COPY: &[&str] = &[
    "aws-lc-fips-sys",
    "aws-lc-sys",
    "bzip2-sys",
    "curl-sys",
    "expat-sys",
    "freetype-sys",
    "jemalloc-sys",
    "libgit2-sys",
    "liblzma-sys",
    "libnghttp2-sys",
    "librocksdb-sys",
    "libsodium-sys-stable",
    "libssh2-sys",
    "libz-ng-sys",
    "libz-sys",
    "lz4-sys",
    "lzma-sys",
    "onig_sys",
    "pcre2-sys",
    "rdkafka-sys",
    "ring",
    "servo-freetype-sys",
    "tikv-jemalloc-sys",
    "x11-dl",
    "zeromq-src",
    "zstd-sys",
];

/// Features by whose names crates say that they compile a copy of their own.
const OWN_COPY_FEATURES: &[&str] = &["bundled", "vendored", "static"];

/// What compiling such a copy takes.
const COPY_TOOLS: &[(&str, &[&str])] = &[
    ("cmake", &["cmake", "g++", "make"]),
    ("jemalloc-sys", &["make"]),
    ("librocksdb-sys", &["g++"]),
    ("libsodium-sys-stable", &["make"]),
    ("openssl-src", &["make", "perl"]),
    ("rdkafka-sys", &["g++", "make"]),
    ("tikv-jemalloc-sys", &["make"]),
];

/// The Debian packages that `crates`, names with the features that are on, need to compile, besides a C compiler and
/// libc. A guess from names: a crate that no table here knows may need more.
pub fn needed_to_compile<'a>(
    crates: impl Iterator<Item = (&'a str, &'a [String])>,
) -> BTreeSet<&'static str> {
    let mut needed = BTreeSet::new();
    for (name, features) in crates {
        let has_own_copy = OWN_COPY.contains(&name)
            || features.iter().any(|feature| {
                OWN_COPY_FEATURES.iter().any(|own| {
                    feature.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
                })
            });
        if !has_own_copy {
            let known = SYSTEM_PACKAGES.iter().filter(|package| package.crates.contains(&name));
            needed.extend(known.flat_map(|package| package.debian));
        }
        let tools = COPY_TOOLS.iter().filter(|(tool_user, _)| *tool_user == name);
        needed.extend(tools.flat_map(|(_, debian)| *debian));
    }
    // Every builder has these.
    needed.retain(|package| !matches!(*package, "gcc" | "libc6-dev"));
    needed
}

/// Says why a build failed. `output` is its standard error and the rendered diagnostics (the linker's words are in the
/// latter), with or without colours.
pub fn diagnose(output: &str) -> Diagnosis {
    let text = messages::plain(output.as_bytes());
    let line_with = |needles: &[&str]| {
        let line = text.lines().find(|line| needles.iter().any(|needle| line.contains(needle)));
        line.map(|line| line.trim().to_owned())
    };
    if line_with(&["--locked was passed", "--frozen was passed"]).is_some() {
        return Diagnosis::LockNeedsUpdate;
    }
    if let Some(evidence) = line_with(&[
        "No space left on device",
        "Disk quota exceeded",
        // lld writes into a mapped file, which ends so where the disk has no room for its pages.
        "ld terminated with signal 7 [Bus error]",
    ]) {
        return Diagnosis::DiskFull { evidence };
    }
    if let Some(evidence) = line_with(&["(--offline)", "but --offline was specified"]) {
        return Diagnosis::Offline { evidence };
    }
    if let Some(line) =
        text.lines().find(|line| line.starts_with("error: profile `") && line.ends_with("` is not defined"))
        && let Some(profile) = quoted(line)
    {
        return Diagnosis::UnknownProfile { profile: profile.to_owned() };
    }
    if let Some(missing) = missing_package(&text) {
        return Diagnosis::MissingSystemPackage(missing);
    }
    if let Some(target) =
        line_with(&["target may not be installed"]).and_then(|line| Some(quoted(&line)?.to_owned()))
    {
        return Diagnosis::MissingTarget { target };
    }
    const NETWORK: [&str; 6] = [
        "failed to download from `",
        "Could not resolve host",
        "Could not connect to server",
        "spurious network error",
        "network failure seems to have happened",
        "failed to fetch `",
    ];
    if let Some(evidence) = line_with(&NETWORK) {
        return Diagnosis::Network { evidence };
    }
    if line_with(&["error: could not compile `", "error[E"]).is_some() {
        return Diagnosis::CompileError;
    }
    Diagnosis::Other
}

/// Finds the system package that a build lacks in its output, which must be free of colours.
fn missing_package(text: &str) -> Option<MissingPackage> {
    let mut crate_name: Option<String> = None;
    // A failing build script of a known crate: believed only if nothing says more.
    let mut suspect: Option<MissingPackage> = None;
    let mut something_not_found = false;
    for line in text.lines().map(str::trim) {
        let lower = line.to_lowercase();
        if lower.contains("failed to run custom build command for") {
            crate_name = quoted(line).and_then(|id| id.split(' ').next()).map(str::to_owned);
            let known = crate_name.as_deref().and_then(|name| find(|package| package.crates, name));
            if let (Some(known), None) = (known, &suspect) {
                let (crate_name, evidence) = (crate_name.clone(), line.to_owned());
                suspect = Some(MissingPackage { crate_name, debian: known.debian, evidence });
            }
            continue;
        }
        let found = |debian: &'static [&'static str]| {
            Some(MissingPackage { crate_name: crate_name.clone(), debian, evidence: line.to_owned() })
        };
        if let Some(module) = missing_module(line)
            && let Some(package) = find(|package| package.modules, module)
        {
            return found(package.debian);
        }
        let tool = TOOLS.iter().find(|(needles, _)| needles.iter().all(|needle| lower.contains(needle)));
        if let Some((_, debian)) = tool {
            return found(debian);
        }
        if let Some(library) = missing_library(line)
            && let Some(package) = find(|package| package.libraries, library)
        {
            return Some(MissingPackage {
                crate_name: None,
                debian: package.debian,
                evidence: line.to_owned(),
            });
        }
        something_not_found |=
            ["not found", "could not find", "no such file", "unable to find", "pkg-config"]
                .iter()
                .any(|needle| lower.contains(needle));
    }
    suspect.filter(|_| something_not_found)
}

fn find(
    names: impl Fn(&SystemPackage) -> &'static [&'static str],
    wanted: &str,
) -> Option<&'static SystemPackage> {
    SYSTEM_PACKAGES.iter().find(|package| names(package).contains(&wanted))
}

/// The name of a pkg-config module that a line says is missing.
fn missing_module(line: &str) -> Option<&str> {
    let lower = line.to_lowercase();
    // "The system library `libpq` required by crate `pq-sys` was not found."
    if lower.starts_with("the system library `") {
        return quoted(line);
    }
    // "could not find system library 'libpq' required by the 'pq-sys' crate"
    if let Some(at) = lower.find("could not find system library '") {
        return line.get(at..)?.split('\'').nth(1);
    }
    // "Package libpq was not found in the pkg-config search path.", "No package 'libpq' found"
    if lower.contains("was not found in the pkg-config search path") {
        return line.split("ackage ").nth(1)?.split(' ').next();
    }
    if lower.contains("no package '") {
        return line.split('\'').nth(1);
    }
    None
}

/// The name of a library, without `-l`, that a linker says is missing.
fn missing_library(line: &str) -> Option<&str> {
    let markers = ["cannot find -l", "unable to find library -l", "library not found: "];
    let rest = markers.iter().find_map(|marker| line.split_once(marker)).map(|(_, rest)| rest)?;
    let end =
        rest.find(|character: char| character == ':' || character.is_whitespace()).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// What stands in the first pair of backquotes.
fn quoted(line: &str) -> Option<&str> {
    line.split('`').nth(1)
}
