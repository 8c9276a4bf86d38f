use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::TempDir;

/// A folder with files that a test writes and changes.
pub struct Project {
    folder: TempDir,
    root: PathBuf,
}

impl Project {
    /// An empty project in a folder that every user may enter.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("project-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder can be made");
        let root = folder.path().canonicalize().expect("the folder is there");
        Self { folder, root }
    }

    /// A package `name` with a binary that prints `text`, and a lock file.
    pub fn binary(name: &str, text: &str) -> Self {
        let project = Self::new();
        project.write("Cargo.toml", &manifest(name));
        project.write("src/main.rs", &main(text));
        project.write("Cargo.lock", &lock(&[name]));
        project
    }

    /// A workspace with a binary for each name, which prints `<name> 1`, and a library `shared` that all of them use
    /// for that number.
    pub fn workspace(names: &[&str]) -> Self {
        let project = Self::new();
        let members: Vec<String> =
            names.iter().chain(&["shared"]).map(|name| format!("\"{name}\"")).collect();
        project.write(
            "Cargo.toml",
            &format!("[workspace]\nresolver = \"3\"\nmembers = [{}]\n", members.join(", ")),
        );
        project.write("shared/Cargo.toml", &manifest("shared"));
        project.write("shared/src/lib.rs", "pub const NUMBER: u32 = 1;\n");
        for name in names {
            let dependency = "\n[dependencies]\nshared = { path = \"../shared\" }\n";
            project.write(&format!("{name}/Cargo.toml"), &(manifest(name) + dependency));
            project.write(
                &format!("{name}/src/main.rs"),
                &format!("fn main() {{\n    println!(\"{name} {{}}\", shared::NUMBER);\n}}\n"),
            );
        }
        let mut packages: Vec<(&str, bool)> = names.iter().map(|name| (*name, true)).collect();
        packages.push(("shared", false));
        packages.sort_unstable();
        let text = packages.iter().fold("version = 4\n".to_owned(), |text, (name, depends)| {
            let depends = if *depends { "dependencies = [\n \"shared\",\n]\n" } else { "" };
            format!("{text}\n[[package]]\nname = \"{name}\"\nversion = \"0.1.0\"\n{depends}")
        });
        project.write("Cargo.lock", &text);
        project
    }

    /// The folder, without symbolic links in its path.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Writes a file, with the folders that it needs.
    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.root.join(path);
        let folder = path.parent().expect("the file is in a folder");
        fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Writes a file with a modification time of the past, as `cp -p` or an unpacked archive would.
    pub fn write_old(&self, path: &str, text: &str, modified: SystemTime) {
        let path = self.write(path, text);
        let file = fs::File::options().write(true).open(&path).expect("the file was just written");
        file.set_modified(modified).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Removes a file.
    pub fn remove(&self, path: &str) {
        let path = self.root.join(path);
        fs::remove_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Copies everything into another folder, with new modification times.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        copy_folder(&self.root, &copy.root);
        copy
    }

    /// Every file below the folder with its size, modification time and mode, sorted: to see that nothing was written.
    pub fn inventory(&self) -> Vec<(PathBuf, u64, SystemTime, u32)> {
        let mut found = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("the project can be read") {
                let entry = entry.expect("the project can be read");
                let metadata = entry.metadata().expect("the project can be read");
                if metadata.is_dir() {
                    folders.push(entry.path());
                }
                let modified = metadata.modified().expect("files have times");
                found.push((entry.path(), metadata.len(), modified, metadata.permissions().mode()));
            }
        }
        found.sort();
        found
    }

    /// Keeps the folder after the test, for someone who wants to look at it.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

impl Default for Project {
    fn default() -> Self {
        Self::new()
    }
}

fn manifest(name: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n")
}

fn main(text: &str) -> String {
    format!("fn main() {{\n    println!(\"{text}\");\n}}\n")
}

fn lock(names: &[&str]) -> String {
    names.iter().fold("version = 4\n".to_owned(), |text, name| {
        format!("{text}\n[[package]]\nname = \"{name}\"\nversion = \"0.1.0\"\n")
    })
}

/// Copies what is in a folder into another one, with new modification times.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("the folder can be read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("the entry can be read").is_dir() {
            fs::create_dir_all(&target).unwrap_or_else(|error| panic!("{}: {error}", target.display()));
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap_or_else(|error| panic!("{}: {error}", target.display()));
        }
    }
}
