//! Reads the folders below one place, by several threads once there are enough of them. Stats files, reads links, and
//! opens no file but `CACHEDIR.TAG`. What belongs to the result is one of two sets of [`Rules`].

use std::ffi::OsStr;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use carrack_base::{Cancel, ContentDigest};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::attributes;
use crate::bounds::{self, Bounds, LeftOut};
use crate::content::is_absence;
use crate::stat::Stat;
use crate::{ContextError, ContextFilter};

/// Folders that one thread reads before it calls for others: below that, starting threads costs more than it saves.
const ALONE: usize = 48;
/// More threads than this wait for the kernel's locks instead of helping.
const MOST_THREADS: usize = 8;
const DIRECTORY_BUFFER: usize = 32 * 1024;

/// The place that is read.
pub(crate) struct Base<'w> {
    pub(crate) rules: Rules<'w>,
    /// The open folder.
    pub(crate) folder: OwnedFd,
    /// Its path without symlinks.
    pub(crate) real: PathBuf,
    /// Its path as errors show it.
    pub(crate) shown: PathBuf,
    /// Whether it is the walk's root: there a tag does not count, and what can't be read is an error.
    pub(crate) is_root: bool,
}

/// What belongs to the result, and what is asked about it.
#[derive(Clone, Copy)]
pub(crate) enum Rules<'w> {
    /// A source tree: links are looked behind, folders are only a way to files.
    Tree(&'w Bounds),
    /// A build context: links and folders stand for themselves, and only the filter leaves anything out.
    Context(Option<&'w dyn ContextFilter>),
}

/// A folder that was read: its children in the order of their paths' bytes.
#[derive(Default)]
pub(crate) struct Folder {
    /// In a context, what is known of the folder itself; `None` if it was gone when it was to be read.
    pub(crate) own: Option<Own>,
    names: Vec<u8>,
    children: Vec<Child>,
}

/// What a context knows of a folder besides its children.
pub(crate) struct Own {
    pub(crate) stat: Stat,
    /// Digest of its extended attributes, if it has any.
    pub(crate) attributes: Option<ContentDigest>,
    /// Whether the filter ignores it: then it counts only for what is in it.
    pub(crate) ignored: bool,
}

struct Child {
    start: u32,
    len: u32,
    node: Node,
}

/// What a name in a folder stands for.
pub(crate) enum Node {
    /// A folder, by its index; the name ends in `/`.
    Folder(u32),
    File(Stat),
    Symlink(Box<Link>),
    /// Anything else, with its stat if it is in a context.
    Other(Option<Stat>),
}

pub(crate) struct Link {
    pub(crate) target: Vec<u8>,
    pub(crate) end: LinkEnd,
}

/// Where a symlink leads.
pub(crate) enum LinkEnd {
    /// To nothing that belongs to the tree, or to a folder that is in it anyway.
    Nowhere,
    File(Stat),
    /// To a folder outside of the tree, by its path without symlinks.
    Outside(PathBuf),
    /// Nobody asked, because it is in a context; the stat is the link's own.
    Unfollowed(Stat),
}

struct Job {
    index: u32,
    /// Relative to the base, without a slash at its end.
    path: Vec<u8>,
    ignored: bool,
}

struct Queue {
    jobs: Vec<Job>,
    /// Jobs that are queued or being worked on.
    open: usize,
    failure: Option<ContextError>,
}

struct Reader<'b> {
    base: &'b Base<'b>,
    left_out: LeftOut,
    cancel: &'b Cancel,
    next_index: AtomicU32,
    queue: Mutex<Queue>,
    news: Condvar,
}

/// What a thread keeps between folders.
struct Desk {
    directory: Vec<u8>,
    found: Vec<Found>,
    read: Vec<(u32, Folder)>,
}

/// A name in a folder, by its place among the folder's names.
struct Found {
    start: u32,
    len: u32,
    file_type: FileType,
    ignored: bool,
}

impl Folder {
    /// The children with their names, in the order of their paths' bytes: a folder's name ends in `/`.
    pub(crate) fn children(&self) -> impl Iterator<Item = (&[u8], &Node)> {
        self.children
            .iter()
            .map(|child| (&self.names[child.start as usize..][..child.len as usize], &child.node))
    }
}

/// Reads every folder of `base`. The first is the base itself; [`Node::Folder`] indexes the result.
pub(crate) fn read(base: &Base<'_>, cancel: &Cancel) -> Result<Vec<Folder>, ContextError> {
    let root = Job { index: 0, path: Vec::new(), ignored: false };
    let left_out = match base.rules {
        Rules::Tree(bounds) => bounds.left_out_below(&base.real),
        Rules::Context(_) => LeftOut::new(),
    };
    let reader = Reader {
        base,
        left_out,
        cancel,
        next_index: AtomicU32::new(1),
        queue: Mutex::new(Queue { jobs: vec![root], open: 1, failure: None }),
        news: Condvar::new(),
    };
    let mut desk = Desk::new();
    reader.work(&mut desk, Some(ALONE));
    let mut read = desk.read;
    if !reader.lock().jobs.is_empty() {
        let helpers = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS) - 1;
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(|| reader.work_alone())).collect();
            read.extend(reader.work_alone());
            for helper in helpers {
                read.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
        });
    }
    if let Some(failure) = reader.lock().failure.take() {
        return Err(failure);
    }
    let mut folders = Vec::new();
    folders.resize_with(reader.next_index.into_inner() as usize, Folder::default);
    for (index, folder) in read {
        folders[index as usize] = folder;
    }
    Ok(folders)
}

impl Desk {
    fn new() -> Self {
        Self { directory: Vec::with_capacity(DIRECTORY_BUFFER), found: Vec::new(), read: Vec::new() }
    }
}

impl Reader<'_> {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work_alone(&self) -> Vec<(u32, Folder)> {
        let mut desk = Desk::new();
        self.work(&mut desk, None);
        desk.read
    }

    /// Reads folders until none is left, anything failed, or `most` were read.
    fn work(&self, desk: &mut Desk, most: Option<usize>) {
        let mut queue = self.lock();
        while queue.failure.is_none() && most.is_none_or(|most| desk.read.len() < most) {
            let Some(job) = queue.jobs.pop() else {
                if queue.open == 0 {
                    break;
                }
                queue = self.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(queue);
            let outcome = self.read_folder(&job, desk);
            queue = self.lock();
            queue.open -= 1;
            match outcome {
                Ok((folder, jobs)) => {
                    desk.read.push((job.index, folder));
                    queue.open += jobs.len();
                    queue.jobs.extend(jobs);
                }
                Err(failure) => queue.failure = Some(failure),
            }
            if queue.open == 0 || queue.failure.is_some() || queue.jobs.len() > 1 {
                self.news.notify_all();
            }
        }
    }

    fn read_folder(&self, job: &Job, desk: &mut Desk) -> Result<(Folder, Vec<Job>), ContextError> {
        if self.cancel.is_cancelled() {
            return Err(ContextError::Cancelled { root: self.base.shown.clone() });
        }
        match self.list(job, desk) {
            Ok(read) => Ok(read),
            Err((_, errno)) if is_absence(errno) || !self.base.is_root => Ok(Default::default()),
            Err((name, errno)) => {
                let path = self.base.shown.join(OsStr::from_bytes(&job.path)).join(OsStr::from_bytes(&name));
                Err(ContextError::Read { path, source: errno.into() })
            }
        }
    }

    /// An error comes with the name of the child that it is about, or with no name if it is about the folder.
    fn list(&self, job: &Job, desk: &mut Desk) -> Result<(Folder, Vec<Job>), (Vec<u8>, Errno)> {
        let own = |errno| (Vec::new(), errno);
        let path: &[u8] = if job.path.is_empty() { b"." } else { &job.path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&self.base.folder, path, flags, Mode::empty()).map_err(own)?;
        let itself = match self.base.rules {
            Rules::Tree(_) => None,
            Rules::Context(_) => Some(Own {
                stat: rustix::fs::fstat(&directory).map_err(own)?.into(),
                attributes: attributes::of(&directory).map_err(own)?.map(|known| known.digest()),
                ignored: job.ignored,
            }),
        };
        let mut names = Vec::new();
        let tagged = self.list_names(job, &directory, desk, &mut names).map_err(own)?;
        if tagged && !(self.base.is_root && job.path.is_empty()) {
            return Ok(Default::default());
        }
        let name_of = |start: u32, len: u32| &names[start as usize..][..len as usize];
        desk.found.sort_unstable_by(|a, b| name_of(a.start, a.len).cmp(name_of(b.start, b.len)));

        let mut jobs = Vec::new();
        let mut children = Vec::with_capacity(desk.found.len());
        for Found { start, len, file_type, ignored } in desk.found.drain(..) {
            let name = name_of(start, len);
            let node = match (file_type, self.base.rules) {
                (FileType::Directory, _) => {
                    let index = self.next_index.fetch_add(1, Ordering::Relaxed);
                    let path = child_path(&job.path, &name[..name.len() - 1]);
                    jobs.push(Job { index, path, ignored });
                    Ok(Some(Node::Folder(index)))
                }
                (_, Rules::Context(_)) => itself_only(&directory, name),
                (FileType::RegularFile, _) => self.file(&directory, name),
                (FileType::Symlink, Rules::Tree(bounds)) => self.link(&directory, bounds, job, name),
                _ => Ok(Some(Node::Other(None))),
            };
            match node {
                Ok(Some(node)) => children.push(Child { start, len, node }),
                Ok(None) => {}
                Err(errno) if is_absence(errno) => {}
                Err(errno) => return Err((name.to_vec(), errno)),
            }
        }
        Ok((Folder { own: itself, names, children }, jobs))
    }

    /// Fills `names` and `desk.found` and tells whether the folder is tagged as a cache.
    fn list_names(
        &self,
        job: &Job,
        directory: &OwnedFd,
        desk: &mut Desk,
        names: &mut Vec<u8>,
    ) -> Result<bool, Errno> {
        desk.found.clear();
        let left_out =
            self.left_out.get(Path::new(OsStr::from_bytes(&job.path))).map_or(&[][..], Vec::as_slice);
        let mut has_tag = false;
        let mut raw = RawDir::new(directory, desk.directory.spare_capacity_mut());
        while let Some(entry) = raw.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || left_out.iter().any(|known| known.as_bytes() == name) {
                continue;
            }
            let is_tree = matches!(self.base.rules, Rules::Tree(_));
            if is_tree && bounds::is_version_control(OsStr::from_bytes(name)) {
                continue;
            }
            let file_type = match entry.file_type() {
                FileType::Unknown => match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(errno) if is_absence(errno) => continue,
                    Err(errno) => return Err(errno),
                },
                known => known,
            };
            let ignored = match self.base.rules {
                Rules::Context(Some(filter)) => {
                    let path = child_path(&job.path, name);
                    let ignored = filter.ignores(&path);
                    if ignored && (file_type != FileType::Directory || !filter.may_take_back(&path)) {
                        continue;
                    }
                    ignored
                }
                _ => false,
            };
            has_tag |= is_tree && name == bounds::TAG_NAME && file_type == FileType::RegularFile;
            let start = names.len();
            names.extend_from_slice(name);
            if file_type == FileType::Directory {
                names.push(b'/');
            }
            let position =
                |at: usize| u32::try_from(at).expect("the names of one folder are less than 4 GiB");
            let (start, len) = (position(start), position(names.len() - start));
            desk.found.push(Found { start, len, file_type, ignored });
        }
        Ok(has_tag && bounds::is_tagged(directory))
    }

    fn file(&self, directory: &OwnedFd, name: &[u8]) -> Result<Option<Node>, Errno> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        // Anything else took the file's place since the folder was read; the next walk will see it whole.
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(is_file.then(|| Node::File(stat.into())))
    }

    fn link(
        &self,
        directory: &OwnedFd,
        bounds: &Bounds,
        job: &Job,
        name: &[u8],
    ) -> Result<Option<Node>, Errno> {
        let Some(target) = link_text(directory, name)? else { return Ok(None) };
        let end = self.link_end(directory.as_fd(), bounds, job, name).unwrap_or(LinkEnd::Nowhere);
        Ok(Some(Node::Symlink(Box::new(Link { target, end }))))
    }

    /// `None` if the link leads to nothing that we can see, or may see.
    fn link_end(&self, directory: impl AsFd, bounds: &Bounds, job: &Job, name: &[u8]) -> Option<LinkEnd> {
        let stat = rustix::fs::statat(directory, name, AtFlags::empty()).ok()?;
        let file_type = FileType::from_raw_mode(stat.st_mode);
        if !matches!(file_type, FileType::RegularFile | FileType::Directory) {
            return None;
        }
        let path = child_path(&job.path, name);
        let place = self.base.real.join(OsStr::from_bytes(&path)).canonicalize().ok()?;
        if !bounds.admits(&place) {
            return None;
        }
        match file_type {
            FileType::RegularFile => Some(LinkEnd::File(stat.into())),
            _ if place.starts_with(&bounds.root) => None,
            _ => Some(LinkEnd::Outside(place)),
        }
    }
}

/// What stands at a name of a context that was no folder. `None` for a socket, and for what became a folder since: the next
/// walk will see it whole.
fn itself_only(directory: &OwnedFd, name: &[u8]) -> Result<Option<Node>, Errno> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Some(Node::File(stat.into())),
        FileType::Symlink => link_text(directory, name)?
            .map(|target| Node::Symlink(Box::new(Link { target, end: LinkEnd::Unfollowed(stat.into()) }))),
        FileType::Directory | FileType::Socket => None,
        _ => Some(Node::Other(Some(stat.into()))),
    })
}

/// The text of a symlink; `None` if it is none any more.
fn link_text(directory: &OwnedFd, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    match rustix::fs::readlinkat(directory, name, Vec::new()) {
        Err(Errno::INVAL) => Ok(None),
        read => Ok(Some(read?.into_bytes())),
    }
}

fn child_path(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder.len() + 1 + name.len());
    if !folder.is_empty() {
        path.extend_from_slice(folder);
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Takes the folder at `index` out of `folders`.
pub(crate) fn take(folders: &mut [Folder], index: u32) -> Folder {
    mem::take(&mut folders[index as usize])
}
