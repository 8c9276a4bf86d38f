use std::fmt;

/// What BuildKit did with each step of a build, read from its plain progress.
#[derive(Debug)]
pub struct Steps {
    steps: Vec<Step>,
}

/// One step: the number that its lines begin with, the text of its first line, how it ended and what it printed.
#[derive(Debug)]
struct Step {
    number: u32,
    name: String,
    state: State,
    output: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Cached,
    Ran,
    Failed,
    /// Given up because another step failed, or not told about any more.
    Unfinished,
}

impl Steps {
    /// Reads what `docker build --progress plain` wrote to standard error.
    ///
    /// One build only: two side by side would number their steps alike.
    pub fn of(progress: &str) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        for line in progress.lines() {
            let Some((number, text)) = line.strip_prefix('#').and_then(|line| line.split_once(' ')) else {
                continue;
            };
            let Ok(number) = number.parse() else { continue };
            // The first line of a step is its name, and comes again after lines of another step.
            let Some(step) = steps.iter_mut().find(|step| step.number == number) else {
                let (name, state) = (text.to_owned(), State::Unfinished);
                steps.push(Step { number, name, state, output: String::new() });
                continue;
            };
            let (first, rest) = text.split_at(text.find([' ', ':']).unwrap_or(text.len()));
            match first {
                "CACHED" => step.state = State::Cached,
                "DONE" => step.state = State::Ran,
                "ERROR" => step.state = State::Failed,
                // Seconds since the step began come before each line that its program printed.
                seconds if seconds.parse::<f64>().is_ok() => {
                    step.output.extend([rest.trim_start_matches(' '), "\n"])
                }
                _ => {}
            }
        }
        Self { steps }
    }

    /// Fails the test unless the only step with `text` in its instruction was taken from the cache.
    #[track_caller]
    pub fn expect_cached(&self, text: &str) -> &Self {
        self.expect(text, State::Cached)
    }

    /// Fails the test unless the only step with `text` in its instruction ran.
    #[track_caller]
    pub fn expect_ran(&self, text: &str) -> &Self {
        self.expect(text, State::Ran)
    }

    /// Fails the test unless the only step with `text` in its instruction failed.
    #[track_caller]
    pub fn expect_failed(&self, text: &str) -> &Self {
        self.expect(text, State::Failed)
    }

    /// Whether the only step with `text` in its instruction was taken from the cache.
    #[track_caller]
    pub fn cached(&self, text: &str) -> bool {
        self.only(text).state == State::Cached
    }

    /// What the only step with `text` in its instruction printed, without the margins of its lines.
    #[track_caller]
    pub fn output(&self, text: &str) -> &str {
        &self.only(text).output
    }

    #[track_caller]
    fn expect(&self, text: &str, state: State) -> &Self {
        let found = self.only(text).state;
        assert!(found == state, "expected {state:?}, found {found:?} for {text:?} among:\n{self}");
        self
    }

    #[track_caller]
    fn only(&self, text: &str) -> &Step {
        let found: Vec<&Step> = self.steps.iter().filter(|step| step.name.contains(text)).collect();
        let [step] = found[..] else { panic!("{} steps with {text:?} among:\n{self}", found.len()) };
        step
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(formatter, "{:>3} {:<10} {}", step.number, format!("{:?}", step.state), step.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_what_its_last_word_says() {
        let steps = Steps::of(
            "#4 [builder 2/3] RUN cargo fetch\n#4 sha256:0123\n#5 [builder 3/3] RUN cargo build\n#5 CACHED\n\n\
             #4 0.2    CACHED is only a word\n#4 ...\n\n#6 [stage-1 2/2] COPY a b\n#6 ERROR: no such file\n\n\
             #4 [builder 2/3] RUN cargo fetch\n#4 DONE 0.3s\n#7 [internal] load\n#7 CANCELED\n",
        );
        steps.expect_ran("cargo fetch").expect_cached("cargo build").expect_failed("COPY a b");
        assert_eq!(steps.output("cargo fetch"), "CACHED is only a word\n");
        assert!(steps.cached("cargo build") && !steps.cached("cargo fetch") && !steps.cached("load"));
    }

    #[test]
    #[should_panic(expected = "2 steps with \"cargo\"")]
    fn a_step_has_to_be_named_without_doubt() {
        Steps::of("#1 RUN cargo fetch\n#2 RUN cargo build\n").expect_ran("cargo");
    }
}
