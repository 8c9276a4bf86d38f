use std::collections::BTreeMap;
use std::time::Duration;

use carrack_base::OutputStream;

use super::{News, State};

/// Reads `--progress=plain`.
///
/// ```text
/// #5 [builder 1/1] RUN make        a vertex; said again when the printer comes back to it
/// #5 sha256:7e03b8…                its digest (20.10 only)
/// #5 0.053 text                    output, after the seconds since its start
/// #5 transferring context: 2B done status
/// #5 DONE 0.1s                     or CACHED, CANCELED, ERROR: text; right behind output that has no line end
/// ------                           from here on, the client's own words
/// ```
#[derive(Debug, Default)]
pub(crate) struct Plain {
    names: BTreeMap<String, String>,
    /// The summary after the steps has begun.
    over: bool,
}

impl Plain {
    /// The news of one line.
    pub(crate) fn line(&mut self, line: &str) -> Vec<News> {
        if self.over {
            return vec![News::Words(line.to_owned())];
        }
        let Some((vertex, text)) = numbered(line) else {
            self.over = line == "------";
            return if line.is_empty() { Vec::new() } else { vec![News::Words(line.to_owned())] };
        };
        let Some(name) = self.names.get(vertex) else {
            self.names.insert(vertex.to_owned(), text.to_owned());
            return vec![News::Vertex {
                vertex: vertex.to_owned(),
                name: text.to_owned(),
                state: State::Running,
            }];
        };
        if text == name || text == "..." || is_digest(text) {
            return Vec::new();
        }
        let news = |state| News::Vertex { vertex: vertex.to_owned(), name: name.clone(), state };
        if let Some(state) = end(text) {
            return vec![news(state)];
        }
        let Some(output) = output(text) else {
            return vec![News::Status { vertex: vertex.to_owned(), text: text.to_owned() }];
        };
        let piece = |text: &str, line_end: &str| News::Output {
            vertex: vertex.to_owned(),
            // 20.10 does not say which one it was.
            stream: OutputStream::Stdout,
            bytes: format!("{text}{line_end}").into_bytes(),
        };
        let mark = format!("#{vertex} ");
        match output.rsplit_once(&mark).and_then(|(before, after)| Some((before, end(after)?))) {
            Some((before, state)) => vec![piece(before, ""), news(state)],
            None => vec![piece(output, "\n")],
        }
    }
}

/// `#5 text` as (`5`, `text`).
fn numbered(line: &str) -> Option<(&str, &str)> {
    let (number, text) = line.strip_prefix('#')?.split_once(' ')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some((number, text))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn end(text: &str) -> Option<State> {
    match text {
        "CACHED" => Some(State::Done { cached: true, elapsed: None }),
        "CANCELED" => Some(State::Cancelled),
        _ => match text.strip_prefix("DONE ") {
            Some(time) => {
                Some(State::Done { cached: false, elapsed: Some(seconds(time.strip_suffix('s')?)?) })
            }
            None => text.strip_prefix("ERROR: ").map(|why| match why.contains("context canceled") {
                true => State::Cancelled,
                false => State::Failed(why.to_owned()),
            }),
        },
    }
}

/// What stands behind the seconds.
fn output(text: &str) -> Option<&str> {
    let (time, output) = text.split_once(' ')?;
    seconds(time).map(|_| output)
}

/// `0.053`.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, part) = text.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}
