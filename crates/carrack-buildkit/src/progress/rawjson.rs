use carrack_base::OutputStream;
use serde::Deserialize;

use super::base64::decode;
use super::{News, State};

/// What one line of `--progress=rawjson` holds, as BuildKit's `SolveStatus` is written.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    vertexes: Vec<Vertex>,
    #[serde(default)]
    statuses: Vec<Status>,
    #[serde(default)]
    logs: Vec<Log>,
    #[serde(default)]
    warnings: Vec<Warning>,
}

#[derive(Deserialize)]
struct Vertex {
    digest: String,
    #[serde(default)]
    name: String,
    started: Option<String>,
    completed: Option<String>,
    #[serde(default)]
    cached: bool,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct Status {
    id: String,
    vertex: String,
    #[serde(default)]
    current: u64,
    #[serde(default)]
    total: u64,
}

#[derive(Deserialize)]
struct Log {
    vertex: String,
    stream: i32,
    data: String,
}

#[derive(Deserialize)]
struct Warning {
    short: String,
    #[serde(default)]
    url: String,
}

/// The news of one line, in the order in which they happened.
pub(crate) fn rawjson(line: &str) -> Vec<News> {
    let Ok(line) = serde_json::from_str::<Line>(line) else { return vec![News::Words(line.to_owned())] };
    let vertices = line.vertexes.into_iter().map(|vertex| {
        let state = match (&vertex.started, &vertex.completed) {
            (_, Some(_)) if vertex.error.contains("context canceled") => State::Cancelled,
            (_, Some(_)) if !vertex.error.is_empty() => State::Failed(vertex.error),
            (_, Some(_)) => State::Done { cached: vertex.cached, elapsed: None },
            (Some(_), None) => State::Running,
            (None, None) => State::Waiting,
        };
        (vertex.digest, vertex.name, state)
    });
    // What a vertex wrote belongs before its end, even if both come at once.
    let (done, open): (Vec<_>, Vec<_>) =
        vertices.partition(|(_, _, state)| !matches!(state, State::Waiting | State::Running));
    let vertex = |(vertex, name, state)| News::Vertex { vertex, name, state };
    let statuses = line.statuses.into_iter().map(|status| News::Status {
        text: match (status.current, status.total) {
            (0, 0) => status.id,
            (current, 0) => format!("{} {}", status.id, megabytes(current)),
            (current, total) => format!("{} {} / {}", status.id, megabytes(current), megabytes(total)),
        },
        vertex: status.vertex,
    });
    let logs = line.logs.into_iter().filter_map(|log| {
        let stream = if log.stream == 1 { OutputStream::Stdout } else { OutputStream::Stderr };
        Some(News::Output { vertex: log.vertex, stream, bytes: decode(&log.data)? })
    });
    let warnings = line.warnings.into_iter().filter_map(|warning| {
        let message = String::from_utf8(decode(&warning.short)?).ok()?;
        let hint = (!warning.url.is_empty()).then(|| format!("see {}", warning.url));
        Some(News::Warning { message, hint })
    });
    let open = open.into_iter().map(vertex);
    open.chain(statuses).chain(logs).chain(warnings).chain(done.into_iter().map(vertex)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
