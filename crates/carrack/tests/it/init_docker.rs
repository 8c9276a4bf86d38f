//! The files that `carrack init` writes, built by a real Docker 20.10, compose and make: the images run, have the right
//! code after every kind of change, and BuildKit's own progress says that no more was built than had to be.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::thread;
use std::time::SystemTime;

use carrack_testkit::{Answer, Project, Steps, ask, ask_until_it_answers, free_port};
use serde_json::Value;

use crate::foreign;
use crate::rustcare::copy_example_to_build_fast;
use crate::site::{APPLICATION, DEPENDENCIES, Site, compiled, make_old};

const SERVER: &str = "rustcare-server";

/// A container of the server's image.
struct Server<'a> {
    site: &'a Site,
    name: String,
    address: String,
}

impl<'a> Server<'a> {
    fn start(site: &'a Site) -> Self {
        let port = free_port();
        let (name, address) = (format!("server-{port}"), format!("127.0.0.1:{port}"));
        let listen = format!("RUSTCARE_LISTEN={address}");
        let run = ["run", "--detach", "--name", &name, "--network", "host", "--env", &listen, SERVER];
        site.docker.run(&run).expect_code(0);
        let server = Self { site, name, address };
        assert_eq!(ask_until_it_answers(&server.address, "GET /health").status, 200);
        server
    }

    fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.ask(path).body).unwrap()
    }

    fn ask(&self, path: &str) -> Answer {
        ask(&self.address, &format!("GET {path}"), None).unwrap()
    }

    /// The title of the code for asthma.
    fn asthma(&self) -> String {
        self.get("/codes?prefix=J45.9")[0]["title"].as_str().unwrap().to_owned()
    }

    /// What the server says about a patient without a name.
    fn refusal(&self) -> String {
        let nameless = r#"{"name": "", "birth_date": "1990-12-10"}"#;
        ask(&self.address, "POST /patients", Some(nameless)).unwrap().body
    }

    fn log(&self) -> String {
        let logs = self.site.docker.run(&["logs", &self.name]).expect_code(0);
        logs.stdout + &logs.stderr
    }

    fn user(&self) -> String {
        self.site.docker.run(&["exec", &self.name, "id", "-u"]).expect_code(0).stdout
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.site.docker.run(&["rm", "--force", &self.name]);
    }
}

/// The example in a git repository.
fn rustcare() -> Option<Project> {
    let project = Project::new();
    copy_example_to_build_fast(&project.path().join("rustcare"));
    Some(project)
}

fn git(site: &Site, arguments: &[&str]) {
    let name = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"];
    site.run("git", &[&name[..], arguments].concat()).expect_code(0);
}

/// The application was built, and of what came from elsewhere nothing was.
#[track_caller]
fn expect_only_the_application(steps: &Steps) {
    steps.expect_cached(DEPENDENCIES).expect_ran(APPLICATION);
}

#[track_caller]
fn expect_nothing(steps: &Steps) {
    steps.expect_cached(DEPENDENCIES).expect_cached(APPLICATION);
}

/// Our own packages, as cargo names them.
#[track_caller]
fn expect_compiled(steps: &Steps, packages: &[&str]) {
    assert_eq!(compiled(steps, APPLICATION), packages.iter().copied().collect(), "{steps}");
}

#[test]
fn rustcare_is_built_right_after_every_change() {
    const TEST: &str = "rustcare_is_built_right_after_every_change";
    let Some(site) = Site::new(TEST, "rustcare", rustcare) else { return };
    git(&site, &["init", "--quiet"]);
    git(&site, &["add", "."]);
    git(&site, &["commit", "--quiet", "--message", "first"]);
    first_build(&site);
    edits(&site);
    times(&site);
    failures(&site);
    branches(&site);
    manifests(&site);
    there_and_back(&site);
}

fn first_build(site: &Site) {
    site.run("make", &["build"]).expect_code(0);
    for service in ["ops-cli", "rustcare-server", "rustcare-sync"] {
        let user = site.docker.inspect(&format!("{service}:latest"))["Config"]["User"].to_string();
        assert!(
            !matches!(user.trim_matches('"').split(':').next(), None | Some("" | "0" | "root")),
            "{user}"
        );
    }
    let server = Server::start(site);
    let health = server.get("/health");
    assert_eq!((&health["healthy"], &health["version"]), (&Value::Bool(true), &"0.3.0".into()));
    assert_eq!(server.user(), "65532\n");
    let migrated =
        site.docker.run(&["run", "--rm", "--network", "none", "ops-cli", "migrate"]).expect_code(0);
    assert!(migrated.stdout.ends_with("schema version 3\n"), "{}", migrated.stdout);

    let image = site.docker.inspect(SERVER);
    expect_nothing(&site.build(SERVER));
    assert_eq!(site.docker.inspect(SERVER)["Id"], image["Id"]);
}

fn edits(site: &Site) {
    let tool = site.docker.inspect("ops-cli");
    site.edit("rustcare/server/src/main.rs", "\"database ready\"", "\"database is ready\"");
    let steps = site.build(SERVER);
    expect_only_the_application(&steps);
    expect_compiled(&steps, &[SERVER]);
    assert!(Server::start(site).log().contains("database is ready"));
    expect_nothing(&site.build("ops-cli"));
    assert_eq!(site.docker.inspect("ops-cli")["Id"], tool["Id"], "another service's image is untouched");

    let patient = "rustcare/crates/rustcare-core/src/patient.rs";
    site.edit(patient, "one line of 1 to 200 characters", "a name that fits on a line");
    let steps = site.build(SERVER);
    expect_only_the_application(&steps);
    let of_core =
        ["ops-cli", "rustcare-api-types", "rustcare-core", SERVER, "rustcare-storage", "rustcare-sync"];
    expect_compiled(&steps, &of_core);
    assert!(Server::start(site).refusal().contains("a name that fits on a line"));

    let script = "rustcare/crates/rustcare-codes/build.rs";
    site.edit(script, "title: {title:?}", "title: {:?}");
    site.edit(script, "}},\")?;", "}},\", title.to_uppercase())?;");
    expect_only_the_application(&site.build(SERVER));
    assert_eq!(Server::start(site).asthma(), "ASTHMA, UNSPECIFIED");
}

/// What the clock or a tool does to modification times says nothing about content.
fn times(site: &Site) {
    for path in ["server/src/main.rs", "Cargo.toml", "Cargo.lock", "crates/rustcare-codes/build.rs"] {
        let file = File::options().write(true).open(site.workspace().join(path)).unwrap();
        file.set_modified(SystemTime::now()).unwrap();
    }
    expect_nothing(&site.build(SERVER));
    let main = "rustcare/server/src/main.rs";
    site.edit(main, "\"database is ready\"", "\"database of old\"");
    make_old(&site.project.path().join(main));
    expect_only_the_application(&site.build(SERVER));
    assert!(Server::start(site).log().contains("database of old"));
    let codes = "rustcare/crates/rustcare-codes/data/icd_codes.csv";
    site.edit(codes, "\"Asthma, unspecified\"", "Asthma of old");
    make_old(&site.project.path().join(codes));
    expect_only_the_application(&site.build(SERVER));
    assert_eq!(Server::start(site).asthma(), "ASTHMA OF OLD");
}

/// What a failed build leaves behind, and what a file that is gone left behind.
fn failures(site: &Site) {
    let (main, codes) = ("rustcare/server/src/main.rs", "rustcare/crates/rustcare-codes/data/icd_codes.csv");
    site.edit(main, "\"database of old\"", "\"database\" of old");
    let failed = site.compose(SERVER);
    assert_ne!(failed.code, Some(0));
    Steps::of(&failed.stderr).expect_cached(DEPENDENCIES).expect_failed(APPLICATION);
    assert!(failed.stderr.contains("could not compile `rustcare-server`"), "{}", failed.stderr);
    site.edit(main, "\"database\" of old", "\"database of now\"");
    make_old(&site.project.path().join(main));
    expect_only_the_application(&site.build(SERVER));
    assert!(Server::start(site).log().contains("database of now"));

    let path = site.project.path().join(codes);
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let failed = site.compose(SERVER);
    assert_ne!(failed.code, Some(0), "the file is gone, wherever a copy of it may be");
    Steps::of(&failed.stderr).expect_cached(DEPENDENCIES).expect_failed(APPLICATION);
    fs::write(&path, text).unwrap();

    // The module goes, and what named it.
    fs::remove_file(site.workspace().join("server/src/codes.rs")).unwrap();
    let library = "rustcare/server/src/lib.rs";
    site.edit(library, "mod codes;\n", "");
    site.edit(library, "        .route(\"/codes\", get(codes::list))\n", "");
    expect_only_the_application(&site.build(SERVER));
    let server = Server::start(site);
    assert_eq!(server.ask("/codes").status, 404);
    assert!(server.log().contains("database of now"));
}

/// The first commit's code and that of another branch, again and again; git gives files new times and old content.
fn branches(site: &Site) {
    git(site, &["checkout", "--quiet", "-b", "other"]);
    git(site, &["commit", "--quiet", "--all", "--message", "second"]);
    git(site, &["checkout", "--quiet", "main"]);
    let steps = site.build(SERVER);
    steps.expect_cached(DEPENDENCIES);
    let server = Server::start(site);
    assert!(server.log().contains("database ready"));
    assert_eq!(server.asthma(), "Asthma, unspecified");
    drop(server);
    git(site, &["checkout", "--quiet", "other"]);
    site.build(SERVER).expect_cached(DEPENDENCIES);
    let server = Server::start(site);
    assert!(server.log().contains("database of now"));
    assert_eq!(server.ask("/codes").status, 404);
    drop(server);
    git(site, &["checkout", "--quiet", "main"]);
    // What was built on the way is no trace in the target folder that could be taken for this branch's.
    site.edit("rustcare/server/src/main.rs", "\"database ready\"", "\"database ready again\"");
    expect_only_the_application(&site.build(SERVER));
    let server = Server::start(site);
    assert!(server.log().contains("database ready again"));
    assert_eq!(server.asthma(), "Asthma, unspecified");
}

/// What happens to manifests and lock file.
fn manifests(site: &Site) {
    let root = "rustcare/Cargo.toml";
    // Another version of all members.
    site.edit(root, "version = \"0.3.0\"", "version = \"0.4.0\"");
    cargo(site, &["update", "--quiet", "--workspace"]);
    site.init();
    expect_only_the_application(&site.build(SERVER));
    assert_eq!(Server::start(site).get("/health")["version"], "0.4.0");

    // Targets that no image has, and words for people.
    site.project.write("rustcare/server/tests/new.rs", "#[test]\nfn new() {}\n");
    site.project.write("rustcare/server/benches/new.rs", "fn main() {}\n");
    site.project.write("rustcare/server/examples/new.rs", "fn main() {}\n");
    let bench = "[[bench]]\nname = \"new\"\nharness = false\n\n[dev-dependencies]";
    site.edit("rustcare/server/Cargo.toml", "[dev-dependencies]", bench);
    site.edit("rustcare/server/Cargo.toml", "The clinic's HTTP API.", "The HTTP API.");
    expect_only_the_application(&site.build(SERVER));

    // A member that brings nothing new from elsewhere.
    site.project.write(
        "rustcare/crates/rustcare-words/Cargo.toml",
        "[package]\nname = \"rustcare-words\"\nversion.workspace = true\nedition.workspace = true\n",
    );
    site.project
        .write("rustcare/crates/rustcare-words/src/lib.rs", "pub const READY: &str = \"ready for words\";\n");
    let dependency = "[dependencies]\nrustcare-words = { path = \"../crates/rustcare-words\" }\n";
    site.edit("rustcare/server/Cargo.toml", "[dependencies]\n", dependency);
    site.edit("rustcare/server/src/main.rs", "\"database ready again\"", "\"{}\", rustcare_words::READY");
    cargo(site, &["update", "--quiet", "--workspace"]);
    site.init();
    expect_no_dependency_compiled(&site.build(SERVER));
    assert!(Server::start(site).log().contains("ready for words"));

    // A member that moves.
    fs::create_dir(site.workspace().join("shared")).unwrap();
    fs::rename(site.workspace().join("crates/rustcare-codes"), site.workspace().join("shared/codes"))
        .unwrap();
    site.edit(root, "\"crates/rustcare-codes\"", "\"shared/codes\"");
    site.edit(root, "\"crates/*\"", "\"crates/*\", \"shared/*\"");
    site.edit("rustcare/shared/codes/data/icd_codes.csv", "\"Asthma, unspecified\"", "Asthma that moved");
    site.init();
    expect_no_dependency_compiled(&site.build(SERVER));
    assert_eq!(Server::start(site).asthma(), "Asthma that moved");

    // Another version of a dependency.
    cargo(site, &["update", "--quiet", "httparse", "--precise", "1.10.0"]);
    let steps = site.build(SERVER);
    steps.expect_ran(DEPENDENCIES).expect_ran(APPLICATION);
    let anew = compiled(&steps, DEPENDENCIES);
    assert!(anew.contains("httparse") && anew.contains("axum"), "{anew:?}");
    assert!(!anew.contains("serde") && !anew.contains("libsqlite3-sys"), "{anew:?}");
    assert_eq!(Server::start(site).asthma(), "Asthma that moved");
}

/// The first commit once more: nothing of what came between is in the image.
fn there_and_back(site: &Site) {
    git(site, &["add", "--all"]);
    git(site, &["commit", "--quiet", "--message", "third"]);
    git(site, &["checkout", "--quiet", "main~1"]);
    site.project.write("rustcare/server/src/lib.rs.orig", "no source\n");
    site.build(SERVER).expect_ran(APPLICATION);
    let server = Server::start(site);
    assert!(server.log().contains("database ready\""), "{}", server.log());
    assert_eq!(server.get("/health")["version"], "0.3.0");
    assert_eq!(server.asthma(), "Asthma, unspecified");
    drop(server);

    // Two services at once, in one target folder.
    site.edit(
        "rustcare/crates/rustcare-core/src/patient.rs",
        "one line of 1 to 200 characters",
        "side by side",
    );
    site.edit(
        "rustcare/ops-cli/src/main.rs",
        "/// Looks after the clinic's database file.\n#[derive",
        "/// Side by side.\n#[derive",
    );
    thread::scope(|scope| {
        let builds =
            [SERVER, "ops-cli", "rustcare-sync"].map(|service| scope.spawn(move || site.build(service)));
        for build in builds {
            build.join().unwrap().expect_cached(DEPENDENCIES);
        }
    });
    assert!(Server::start(site).refusal().contains("side by side"));
    assert!(site.says("ops-cli", &["--help"]).contains("Side by side"));
}

/// The stage of the dependencies may run, since there is another manifest, but what it has is what it needs.
#[track_caller]
fn expect_no_dependency_compiled(steps: &Steps) {
    steps.expect_ran(APPLICATION);
    if steps.cached(DEPENDENCIES) {
        return;
    }
    let ours = |name: &&str| name.starts_with("rustcare-") || *name == "ops-cli";
    let others: BTreeSet<&str> =
        compiled(steps, DEPENDENCIES).into_iter().filter(|name| !ours(name)).collect();
    assert!(others.is_empty(), "{others:?}");
}

fn cargo(site: &Site, arguments: &[&str]) {
    let command = site.run("cargo", arguments);
    command.expect_code(0);
}

#[test]
fn a_package_with_a_library_and_programs() {
    const TEST: &str = "a_package_with_a_library_and_programs";
    let Some(site) = Site::new(TEST, ".", foreign::library_and_programs) else { return };
    site.build("brotli").expect_ran(DEPENDENCIES).expect_ran(APPLICATION);
    site.build("catbrotli").expect_cached(DEPENDENCIES).expect_cached(APPLICATION);
    assert!(site.says("brotli", &["-h"]).contains("Quality may be one of"));
    assert!(site.says("catbrotli", &["-w12"]).len() < 100);

    site.edit("src/bin/brotli.rs", "Quality may be one of", "The quality is one of");
    let steps = site.build("brotli");
    expect_only_the_application(&steps);
    expect_compiled(&steps, &["brotli"]);
    assert!(site.says("brotli", &["-h"]).contains("The quality is one of"));

    site.edit("Cargo.toml", "version = \"8.0.2\"", "version = \"8.0.3\"");
    site.edit(
        "Cargo.lock",
        "name = \"brotli\"\nversion = \"8.0.2\"",
        "name = \"brotli\"\nversion = \"8.0.3\"",
    );
    expect_only_the_application(&site.build("brotli"));
}

#[test]
fn a_virtual_workspace_with_packages_outside_of_it() {
    const TEST: &str = "a_virtual_workspace_with_packages_outside_of_it";
    let Some(site) = Site::new(TEST, "workspace", foreign::outside_packages) else { return };
    site.build("pulldown-cmark").expect_ran(DEPENDENCIES).expect_ran(APPLICATION);
    site.build("zopfli").expect_cached(DEPENDENCIES).expect_cached(APPLICATION);
    assert!(site.says("pulldown-cmark", &["--help"]).contains("Options:"));

    // In a package outside of the workspace, and with an old time.
    site.edit("libraries/getopts/src/lib.rs", "\\n\\nOptions:\\n", "\\n\\nChoices:\\n");
    make_old(&site.project.path().join("libraries/getopts/src/lib.rs"));
    let steps = site.build("pulldown-cmark");
    expect_only_the_application(&steps);
    expect_compiled(&steps, &["getopts", "pulldown-cmark"]);
    assert!(site.says("pulldown-cmark", &["--help"]).contains("Choices:"));

    // The build script of a member.
    let script = "workspace/pulldown-cmark/build.rs";
    site.edit(
        script,
        "fn main() {\n",
        "fn main() {\n    println!(\"cargo:rustc-env=CHOSEN=by the script\");\n",
    );
    let main = "workspace/pulldown-cmark/src/main.rs";
    site.edit(main, "println!(\"EOF\");", "println!(\"EOF {}\", env!(\"CHOSEN\"));");
    expect_only_the_application(&site.build("pulldown-cmark"));
    assert!(site.says("pulldown-cmark", &["--events", "/etc/hostname"]).contains("EOF by the script"));
}

#[test]
fn patched_packages_with_build_scripts() {
    const TEST: &str = "patched_packages_with_build_scripts";
    let Some(site) = Site::new(TEST, ".", foreign::patched_packages) else { return };
    site.build("b3sum").expect_ran(DEPENDENCIES).expect_ran(APPLICATION);
    // BLAKE3 of nothing, from its specification.
    let nothing = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    assert!(site.says("b3sum", &["/dev/null"]).starts_with(nothing));

    site.edit("vendor/blake3/src/lib.rs", "0x6A09E667", "0x6A09E668");
    let steps = site.build("b3sum");
    expect_only_the_application(&steps);
    assert!(!site.says("b3sum", &["/dev/null"]).starts_with(nothing));
    site.edit("vendor/blake3/src/lib.rs", "0x6A09E668", "0x6A09E667");
    make_old(&site.project.path().join("vendor/blake3/src/lib.rs"));
    site.build("b3sum").expect_cached(DEPENDENCIES);
    assert!(site.says("b3sum", &["/dev/null"]).starts_with(nothing));

    // The build script of a patched package; everything below it is compiled with other settings.
    site.edit("vendor/blake3/build.rs", "fn main() -> Result<(), Box<dyn std::error::Error>> {\n", "fn main() -> Result<(), Box<dyn std::error::Error>> {\n    println!(\"cargo:warning=the script of the patch\");\n");
    let steps = site.build("b3sum");
    expect_only_the_application(&steps);
    assert!(steps.output(APPLICATION).contains("the script of the patch"));
    assert!(site.says("b3sum", &["/dev/null"]).starts_with(nothing));
}
