//! Random edits of random workspaces: the program prints what a model says, and the image is that of a clean build.
//!
//! `CARRACK_RANDOM_SEED` chooses another walk, `CARRACK_RANDOM_STEPS` a longer one; a failure names both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::time::{Duration, SystemTime};

use carrack_testkit::Project;

use super::{Yard, compiled_units, manifest, told};

/// Where a member takes a number from while it is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// `include_str!`.
    Included,
    /// A build script that declares its input.
    Script,
    /// A macro that reads a file and tells nobody.
    Expanded,
    /// `option_env!`.
    Variable,
    /// A build script that declares a variable.
    ScriptVariable,
}

const KINDS: [Kind; 6] =
    [Kind::Plain, Kind::Included, Kind::Script, Kind::Expanded, Kind::Variable, Kind::ScriptVariable];

#[derive(Debug, Clone)]
struct Member {
    kind: Kind,
    constant: u64,
    /// What is in its file `number`.
    number: u64,
    /// The name of its module, and how many comments its source has.
    module: u64,
    comments: u64,
    /// Members with a higher number, each with whether it gets its feature from here.
    needs: BTreeMap<usize, bool>,
}

/// The sources and the environment.
#[derive(Debug, Clone)]
struct State {
    members: Vec<Member>,
    variables: BTreeMap<String, u64>,
}

/// A generator of numbers (splitmix64): the same for the same seed, on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    fn is_one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

impl State {
    fn new(random: &mut Random) -> Self {
        let count = 4 + random.index(3);
        let members = (0..count).map(|number| {
            // `app` needs the next one at least.
            let mut needs: BTreeMap<usize, bool> = BTreeMap::new();
            for other in number + 1..count {
                if other == number + 1 || random.is_one_in(3) {
                    needs.insert(other, random.is_one_in(3));
                }
            }
            let kind = KINDS[random.index(KINDS.len())];
            Member { kind, constant: random.below(9), number: random.below(9), module: 0, comments: 0, needs }
        });
        Self { members: members.collect(), variables: BTreeMap::new() }
    }

    /// Those that `app` needs, with it.
    fn reachable(&self) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut open = vec![0];
        while let Some(number) = open.pop() {
            if reached.insert(number) {
                open.extend(self.members[number].needs.keys());
            }
        }
        reached
    }

    /// What the program prints.
    fn says(&self) -> u64 {
        let reachable = self.reachable();
        let featured: BTreeSet<usize> = reachable
            .iter()
            .flat_map(|number| &self.members[*number].needs)
            .filter_map(|(needed, feature)| feature.then_some(*needed))
            .collect();
        let mut values: BTreeMap<usize, u64> = BTreeMap::new();
        for number in reachable.into_iter().rev() {
            let member = &self.members[number];
            let own = match member.kind {
                Kind::Plain => 0,
                Kind::Included | Kind::Script | Kind::Expanded => member.number,
                Kind::Variable | Kind::ScriptVariable => {
                    self.variables.get(&variable(number)).copied().unwrap_or(0)
                }
            };
            let feature = if featured.contains(&number) { 1000 } else { 0 };
            let needed: u64 = member.needs.keys().map(|needed| values[needed]).sum();
            values.insert(number, member.constant + own + feature + needed);
        }
        values[&0]
    }

    /// Every file of the workspace.
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let mut add = |path: String, text: String| drop(files.insert(path, text));
        let names: Vec<String> =
            (0..self.members.len()).map(|number| format!("\"{}\"", name(number))).collect();
        add(
            "Cargo.toml".to_owned(),
            format!("[workspace]\nresolver = \"3\"\nmembers = [{}, \"macros\"]\n", names.join(", ")),
        );
        add("macros/Cargo.toml".to_owned(), manifest("macros", "[lib]\nproc-macro = true"));
        add(
            "macros/src/lib.rs".to_owned(),
            "#[proc_macro]\npub fn number(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n    \
             let path = std::env::var(\"CARGO_MANIFEST_DIR\").unwrap() + \"/number\";\n    \
             std::fs::read_to_string(path).unwrap().parse().unwrap()\n}\n"
                .to_owned(),
        );
        for (number, member) in self.members.iter().enumerate() {
            let folder = name(number);
            let mut needs = "[features]\nextra = []\n\n[dependencies]\n".to_owned();
            for (needed, feature) in &member.needs {
                let features = if *feature { ", features = [\"extra\"]" } else { "" };
                needs.push_str(&format!("{0} = {{ path = \"../{0}\"{features} }}\n", name(*needed)));
            }
            if member.kind == Kind::Expanded {
                needs.push_str("macros = { path = \"../macros\" }\n");
            }
            add(format!("{folder}/Cargo.toml"), manifest(&folder, &needs));
            let scripted = "include!(concat!(env!(\"OUT_DIR\"), \"/number.rs\"))".to_owned();
            let own = match member.kind {
                Kind::Plain => "0".to_owned(),
                Kind::Included => "include_str!(\"../number\").parse::<u64>().unwrap()".to_owned(),
                Kind::Script | Kind::ScriptVariable => scripted,
                Kind::Expanded => "macros::number!()".to_owned(),
                Kind::Variable => {
                    format!("option_env!(\"{}\").unwrap_or(\"0\").parse::<u64>().unwrap()", variable(number))
                }
            };
            let module = format!("part{}", member.module);
            let needed: String =
                member.needs.keys().map(|needed| format!(" + {}::value()", name(*needed))).collect();
            let comments = "// A word.\n".repeat(usize::try_from(member.comments).unwrap());
            let value = format!(
                "{comments}mod {module};\n\npub fn value() -> u64 {{\n    let own: u64 = {own};\n    \
                 let extra = if cfg!(feature = \"extra\") {{ 1000 }} else {{ 0 }};\n    \
                 own + extra + {module}::CONSTANT{needed}\n}}\n"
            );
            let (root, text) = match number {
                0 => ("main", format!("{value}\nfn main() {{\n    println!(\"{{}}\", value());\n}}\n")),
                _ => ("lib", value),
            };
            add(format!("{folder}/src/{root}.rs"), text);
            add(
                format!("{folder}/src/{module}.rs"),
                format!("pub const CONSTANT: u64 = {};\n", member.constant),
            );
            let script = |says: String, number: &str| {
                format!(
                    "fn main() {{\n    println!(\"cargo::rerun-if-{says}\");\n    let number = {number};\n    \
                     std::fs::write(std::env::var(\"OUT_DIR\").unwrap() + \"/number.rs\", number).unwrap();\n}}\n"
                )
            };
            match member.kind {
                Kind::Script => {
                    let says = "changed=number".to_owned();
                    let text = script(says, "std::fs::read_to_string(\"number\").unwrap()");
                    add(format!("{folder}/build.rs"), text);
                }
                Kind::ScriptVariable => {
                    let variable = variable(number);
                    let read = format!("std::env::var(\"{variable}\").unwrap_or(\"0\".to_owned())");
                    add(format!("{folder}/build.rs"), script(format!("env-changed={variable}"), &read));
                }
                Kind::Plain | Kind::Included | Kind::Expanded | Kind::Variable => {}
            }
            add(format!("{folder}/number"), member.number.to_string());
        }
        files
    }

    /// Changes something, and says what.
    fn edit(&mut self, random: &mut Random) -> String {
        let number = random.index(self.members.len());
        let value = random.below(9);
        let count = self.members.len();
        let member = &mut self.members[number];
        let folder = name(number);
        match random.below(9) {
            0 | 1 => {
                member.constant = value;
                format!("{folder}: constant {value}")
            }
            2 | 3 => {
                member.number = value;
                format!("{folder}: number {value}")
            }
            4 => {
                member.module = random.below(3);
                format!("{folder}: module {}", member.module)
            }
            5 => {
                member.comments = random.below(3);
                format!("{folder}: {} comments", member.comments)
            }
            6 if number + 2 < count => {
                let needed = number + 2 + random.index(count - number - 2);
                if member.needs.remove(&needed).is_none() {
                    member.needs.insert(needed, false);
                }
                format!("{folder}: needs {}? {}", name(needed), member.needs.contains_key(&needed))
            }
            7 if number + 1 < count => {
                let feature = member.needs.get_mut(&(number + 1)).unwrap();
                *feature = !*feature;
                format!("{folder}: feature {feature}")
            }
            _ => {
                let readers: Vec<usize> = (0..count)
                    .filter(|number| {
                        matches!(self.members[*number].kind, Kind::Variable | Kind::ScriptVariable)
                    })
                    .collect();
                let Some(reader) = readers.get(random.index(readers.len().max(1))) else {
                    return "nothing".to_owned();
                };
                let variable = variable(*reader);
                match value {
                    0..3 => drop(self.variables.remove(&variable)),
                    value => drop(self.variables.insert(variable.clone(), value)),
                }
                format!("{variable}: {value}")
            }
        }
    }
}

fn name(number: usize) -> String {
    if number == 0 { "app".to_owned() } else { format!("member{number}") }
}

fn variable(number: usize) -> String {
    format!("RANDOM_{number}")
}

/// Now, long ago, or the second in which everything happens.
fn some_time(random: &mut Random) -> SystemTime {
    let epoch = SystemTime::UNIX_EPOCH;
    match random.below(4) {
        0 => SystemTime::now() - Duration::from_secs(random.below(100_000)),
        1 => epoch + Duration::from_secs(1_000_000_000 + random.below(100_000_000)),
        2 => epoch + Duration::from_secs(1_500_000_000),
        _ => SystemTime::now(),
    }
}

struct Walk {
    yard: Yard,
    random: Random,
    state: State,
    /// What is on disk.
    files: BTreeMap<String, String>,
    /// What was built before: files, variables and the image.
    built: HashMap<String, Vec<String>>,
    said: String,
}

impl Walk {
    /// Makes the files those of the state; what differs gets some time.
    fn write(&mut self) {
        let files = self.state.files();
        for path in self.files.keys().filter(|path| !files.contains_key(*path)) {
            self.yard.project().remove(path);
        }
        for (path, text) in files.iter().filter(|(path, text)| self.files.get(*path) != Some(text)) {
            self.yard.project().write_old(path, text, some_time(&mut self.random));
        }
        self.files = files;
        for number in 0..self.state.members.len() {
            match self.state.variables.get(&variable(number)) {
                Some(value) => self.yard.scene.set(&variable(number), &value.to_string()),
                None => self.yard.scene.unset(&variable(number)),
            }
        }
    }

    fn touch(&mut self) {
        let paths: Vec<String> = self.files.keys().cloned().collect();
        for path in paths {
            if self.random.is_one_in(4) {
                let path = self.yard.project().path().join(path);
                let file = fs::File::options().write(true).open(path).unwrap();
                file.set_modified(some_time(&mut self.random)).unwrap();
            }
        }
    }

    fn step(&mut self, number: u64, what: &str) {
        self.said = format!("{}\n{number}: {what}", self.said);
        self.write();
        // Without a kept result of the whole step.
        self.yard.write("README.md", &number.to_string());
        let finished = self.yard.try_build(&[]);
        assert_eq!(finished.code, Some(0), "{}\n{}", self.said, finished.stderr);
        let built = crate::scene::Built::read(&finished);
        let said = self.yard.scene.says("app");
        assert_eq!(said, self.state.says().to_string(), "{}\n{:#?}", self.said, self.state);
        let state = format!("{:?} {:?}", self.files, self.state.variables);
        let compiled = compiled_units(&built);
        if let Some(before) = self.built.get(&state) {
            assert_eq!(&built.digests(), before, "{}\n{:#?}", self.said, self.state);
            assert!(compiled.is_empty(), "{}\ncompiled again: {compiled:?}\n{}", self.said, told(&built));
        }
        if number.is_multiple_of(6) {
            assert_eq!(built.digests(), self.yard.clean(), "{}\n{:#?}", self.said, self.state);
        }
        self.built.insert(state, built.digests());
        self.said = format!("{} ({})", self.said, compiled.into_iter().collect::<Vec<_>>().join(" "));
    }
}

/// Takes a walk of so many steps.
fn walk(seed: u64, steps: u64) {
    let mut random = Random(seed);
    let state = State::new(&mut random);
    let mut walk = Walk {
        yard: Yard::new(Project::new()),
        random,
        state,
        files: BTreeMap::new(),
        built: HashMap::new(),
        said: format!("CARRACK_RANDOM_SEED={seed} CARRACK_RANDOM_STEPS={steps}"),
    };
    walk.step(0, "first build");
    let mut other = walk.state.clone();
    let mut history = vec![walk.state.clone()];
    for number in 1..=steps {
        let what = match walk.random.below(8) {
            0 => {
                let earlier = walk.random.index(history.len());
                walk.state = history[earlier].clone();
                format!("as after step {earlier}")
            }
            1 => {
                std::mem::swap(&mut walk.state, &mut other);
                "another branch".to_owned()
            }
            2 => {
                walk.touch();
                "touched".to_owned()
            }
            3 => {
                let first = walk.state.edit(&mut walk.random);
                format!("{first}; {}", walk.state.edit(&mut walk.random))
            }
            _ => walk.state.edit(&mut walk.random),
        };
        walk.step(number, &what);
        history.push(walk.state.clone());
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

#[test]
fn random_walks() {
    let seed = setting("CARRACK_RANDOM_SEED");
    let steps = setting("CARRACK_RANDOM_STEPS");
    match seed {
        Some(seed) => walk(seed, steps.unwrap_or(40)),
        None => {
            for seed in [1, 2] {
                walk(seed, steps.unwrap_or(20));
            }
        }
    }
}
