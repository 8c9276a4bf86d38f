//! Files from elsewhere: downloads and commits of git repositories, each as one layer that can be copied from.
//!
//! | | asked over the network |
//! | --- | --- |
//! | a download with a checksum | the first time |
//! | a download without | every time, whether it is another one by now; if nobody answers, the last one is taken, with a warning |
//! | a commit by its full name | the first time |
//! | a branch, a tag | every time, which commit it is; otherwise as above |

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use carrack_base::{BuildEvent, ContentDigest, Digest};
use carrack_graph::{FetchOp, GitOp, KeyRecord, StepInfo};
use carrack_oci::snapshot;
use carrack_oci::transport::{Method, Request, Transport, TransportOptions};
use carrack_store::{Bucket, Hold};
use serde::{Deserialize, Serialize};

use super::layers::{RootLayer, RootValue, threads};
use super::stack::Stack;
use super::step::LayerStep;
use super::writer::Attributes;
use crate::error::{At, EngineError};
use crate::solve::Solver;

/// Raised with every change of what a download or a commit is as a layer.
const VERSION: u32 = 1;

/// What was downloaded from an address the last time.
#[derive(Debug, Serialize, Deserialize)]
struct Downloaded {
    tag: Option<String>,
    modified: Option<String>,
    digest: Digest,
}

impl Solver<'_> {
    pub(crate) fn fetch(&self, op: &FetchOp) -> Result<RootValue, EngineError> {
        let digest = match op.checksum {
            Some(checksum) => checksum,
            None => self.current(op)?,
        };
        let mut record = KeyRecord::new("fetch", VERSION);
        record.text("content", digest.to_string()).text("name", &op.name);
        let step = LayerStep { info: &op.step, record, sources: None };
        let snapshot = self.layer_of(&step, |_| {
            let path = match self.store().blob_path(&digest) {
                Some(path) => path,
                None => {
                    let found = self.download(op, None)?.ok_or_else(|| failed(&op.url, "it is empty"))?;
                    if found.digest != digest {
                        return Err(EngineError::Checksum {
                            url: op.url.clone(),
                            expected: digest,
                            found: found.digest,
                        });
                    }
                    self.store().blob_path(&digest).ok_or_else(|| failed(&op.url, "it is gone"))?
                }
            };
            let bytes = fs::read(&path).at("read", &path)?;
            let below = Stack::default();
            self.write_layer_of(&op.step.name, &below, |writer, _| {
                let attributes = Attributes { mode: 0o600, uid: 0, gid: 0 };
                writer.text(op.name.as_bytes(), &bytes, attributes)
            })
        })?;
        Ok(RootValue { layers: vec![RootLayer::Snapshot(snapshot)] })
    }

    /// What is at an address now.
    fn current(&self, op: &FetchOp) -> Result<Digest, EngineError> {
        let key = format!("download {}", op.url).into_bytes();
        let last = self.store().get(Bucket::Latest, &key)?;
        let last: Option<Downloaded> = last.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let last = last.filter(|last| self.store().blob_path(&last.digest).is_some());
        let known = last.as_ref().map(|last| last.digest);
        match self.download(op, last.as_ref()) {
            Ok(None) => known.ok_or_else(|| failed(&op.url, "the server says that it has not changed")),
            Ok(Some(found)) => {
                let bytes = serde_json::to_vec(&found).expect("it is plain data");
                self.store().put(Bucket::Latest, &key, bytes)?;
                Ok(found.digest)
            }
            Err(error) => {
                let known = known.ok_or(error)?;
                self.offline(&op.step, &op.url);
                Ok(known)
            }
        }
    }

    fn offline(&self, step: &StepInfo, address: &str) {
        self.events.emit(BuildEvent::Warning {
            message: format!("{address} can't be reached: {} takes what it was the last time", step.name),
            hint: None,
        });
    }

    /// Downloads into the store; `None` if it is as it was.
    fn download(&self, op: &FetchOp, last: Option<&Downloaded>) -> Result<Option<Downloaded>, EngineError> {
        let error = |source: Box<dyn std::error::Error + Send + Sync>| EngineError::Download {
            url: op.url.clone(),
            source,
        };
        let transport = Transport::new(TransportOptions::default()).map_err(|source| error(source.into()))?;
        let mut request = Request::new(Method::Get, &op.url);
        if let Some(tag) = last.and_then(|last| last.tag.as_ref()) {
            request = request.header("if-none-match", tag);
        } else if let Some(modified) = last.and_then(|last| last.modified.as_ref()) {
            request = request.header("if-modified-since", modified);
        }
        let response = transport.send(&request).map_err(|source| error(source.into()))?;
        if response.status() == 304 {
            return Ok(None);
        }
        if !response.is_success() {
            return Err(failed(&op.url, &format!("the server answered {}", response.status())));
        }
        let header = |name| response.header(name).map(str::to_owned);
        let (tag, modified) = (header("etag"), header("last-modified"));
        let mut blob = self.store().blob_writer()?;
        std::io::copy(&mut response.into_reader(), &mut blob).map_err(|source| error(source.into()))?;
        blob.flush().map_err(|source| error(source.into()))?;
        let (digest, _) = blob.commit()?;
        Ok(Some(Downloaded { tag, modified, digest }))
    }

    pub(crate) fn git(&self, op: &GitOp) -> Result<RootValue, EngineError> {
        let name = format!("git {}", op.remote);
        let commit = self.commit(op)?;
        expect(op, &commit)?;
        let mut record = KeyRecord::new("git", VERSION);
        record
            .text("remote", &op.remote)
            .text("commit", &commit)
            .text("folder", op.subfolder.clone().unwrap_or_default())
            .text("git", op.keep_git.to_string())
            .text("submodules", op.submodules.to_string());
        let step = LayerStep { info: &op.step, record, sources: None };
        let snapshot = self.layer_of(&step, |_| {
            let held = self.store().mount_folder(&name, Hold::Locked, self.cancel, || {})?;
            self.check_out(op, &commit, held.path())
        })?;
        Ok(RootValue { layers: vec![RootLayer::Snapshot(snapshot)] })
    }

    /// The commit that is meant, by its full name.
    fn commit(&self, op: &GitOp) -> Result<String, EngineError> {
        let said = op.reference.as_deref().unwrap_or("HEAD");
        if is_commit(said) {
            return Ok(said.to_owned());
        }
        let key = format!("git {} {said}", op.remote).into_bytes();
        match asked(op, said) {
            Ok(commit) => {
                self.store().put(Bucket::Latest, &key, commit.as_bytes().to_vec())?;
                Ok(commit)
            }
            Err(error @ EngineError::NoReference { .. }) => Err(error),
            Err(error) => {
                let known = self.store().get(Bucket::Latest, &key)?;
                let known = known.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(error)?;
                self.offline(&op.step, &op.remote);
                Ok(known)
            }
        }
    }

    fn check_out(&self, op: &GitOp, commit: &str, repository: &Path) -> Result<ContentDigest, EngineError> {
        let scratch = self.store().scratch()?;
        let tree = scratch.path().join("tree");
        fs::create_dir(&tree).at("create", &tree)?;
        let part = tree_of(op, commit, repository, &tree)?;
        let listing = snapshot::scan(&part, self.layers.ownership(), threads())?;
        self.layers.keep(&part, &listing, &op.step.name)
    }
}

/// Puts a commit into a folder, which is empty, and returns the part of it that is wanted.
///
/// Errors: git failed, or the repository has no such commit or folder.
pub fn check_out(op: &GitOp, folder: &Path) -> Result<PathBuf, EngineError> {
    let [repository, tree] = ["repository", "tree"].map(|name| folder.join(name));
    for folder in [&repository, &tree] {
        fs::create_dir(folder).at("create", folder)?;
    }
    let commit = match op.reference.as_deref() {
        Some(commit) if is_commit(commit) => commit.to_owned(),
        said => asked(op, said.unwrap_or("HEAD"))?,
    };
    expect(op, &commit)?;
    tree_of(op, &commit, &repository, &tree)
}

/// Refuses a commit that is not the one that it should be.
fn expect(op: &GitOp, commit: &str) -> Result<(), EngineError> {
    match op.checksum.as_ref().filter(|checksum| !commit.starts_with(checksum.as_str())) {
        None => Ok(()),
        Some(expected) => Err(EngineError::OtherCommit {
            remote: op.remote.clone(),
            expected: expected.clone(),
            found: commit.to_owned(),
        }),
    }
}

/// The commit that a name means now.
fn asked(op: &GitOp, said: &str) -> Result<String, EngineError> {
    let answer = git(None, &["ls-remote", "--", &op.remote], &op.remote)?;
    commit_in(&answer, said)
        .ok_or_else(|| EngineError::NoReference { remote: op.remote.clone(), reference: said.to_owned() })
}

/// Fetches a commit into `repository` and puts it into `tree`; returns the part that is wanted.
fn tree_of(op: &GitOp, commit: &str, repository: &Path, tree: &Path) -> Result<PathBuf, EngineError> {
    let run = |folder: &Path, arguments: &[&str]| git(Some(folder), arguments, &op.remote);
    if !repository.join("HEAD").exists() {
        run(repository, &["init", "--bare", "--quiet"])?;
    }
    let has = run(repository, &["cat-file", "-e", &format!("{commit}^{{tree}}")]).is_ok();
    if !has && run(repository, &["fetch", "--quiet", "--depth=1", "--", &op.remote, commit]).is_err() {
        // A server that gives out no single commits has it among its branches and tags.
        let all = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        run(repository, &[&["fetch", "--quiet", "--", &op.remote][..], &all].concat())?;
    }
    run(tree, &["init", "--quiet"])?;
    run(tree, &["fetch", "--quiet", "--depth=1", "--", &repository.to_string_lossy(), commit])?;
    run(tree, &["checkout", "--quiet", "--detach", "FETCH_HEAD"])?;
    if op.keep_git {
        run(tree, &["remote", "add", "origin", &op.remote])?;
    }
    if op.submodules {
        run(tree, &["submodule", "update", "--quiet", "--init", "--recursive", "--depth=1"])?;
    }
    if !op.keep_git {
        let folder = tree.join(".git");
        fs::remove_dir_all(&folder).at("remove", &folder)?;
    }
    let part = match op.subfolder.as_deref().map(|folder| folder.trim_matches('/')) {
        Some(folder) if !folder.is_empty() && folder != "." => tree.join(folder),
        _ => tree.to_owned(),
    };
    if part.is_dir() {
        return Ok(part);
    }
    Err(EngineError::NoSource { path: op.subfolder.clone().unwrap_or_default(), of: op.remote.clone() })
}

fn failed(url: &str, why: &str) -> EngineError {
    EngineError::Download { url: url.to_owned(), source: why.into() }
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commit that a name means, in the answer of `git ls-remote`: a branch before a tag, and what an annotated tag points to.
fn commit_in(answer: &str, name: &str) -> Option<String> {
    let lines: Vec<(&str, &str)> = answer.lines().filter_map(|line| line.split_once('\t')).collect();
    let wanted = [
        format!("{name}^{{}}"),
        name.to_owned(),
        format!("refs/heads/{name}"),
        format!("refs/tags/{name}^{{}}"),
        format!("refs/tags/{name}"),
    ];
    wanted.iter().find_map(|wanted| {
        lines.iter().find(|(_, found)| found == wanted).map(|(commit, _)| (*commit).to_owned())
    })
}

/// Runs git, which may ask nobody for a password.
fn git(folder: Option<&Path>, arguments: &[&str], remote: &str) -> Result<String, EngineError> {
    let mut command = Command::new("git");
    command.args([
        "-c",
        "protocol.file.allow=always",
        "-c",
        "advice.detachedHead=false",
        "-c",
        "safe.directory=*",
    ]);
    command.args(arguments).env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
    // A repository around the build is not meant.
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(variable);
    }
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let error = |source: Box<dyn std::error::Error + Send + Sync>| EngineError::Git {
        remote: remote.to_owned(),
        source,
    };
    let output = command.output().map_err(|source| error(source.into()))?;
    if !output.status.success() {
        return Err(error(String::from_utf8_lossy(&output.stderr).trim().into()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_commits_as_in_git() {
        let answer = "1\tHEAD\n2\trefs/heads/main\n3\trefs/tags/v1\n4\trefs/tags/v1^{}\n5\trefs/tags/v2\n";
        for (name, commit) in [
            ("HEAD", Some("1")),
            ("main", Some("2")),
            ("v1", Some("4")),
            ("v2", Some("5")),
            ("refs/tags/v2", Some("5")),
            ("x", None),
        ] {
            assert_eq!(commit_in(answer, name).as_deref(), commit, "{name}");
        }
    }
}
