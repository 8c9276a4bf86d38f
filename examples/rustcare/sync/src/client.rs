use std::time::Duration;

use anyhow::{Context, Result};
use rustcare_api_types::{AppointmentBody, PageBody};
use ureq::Agent;

/// Below the ten seconds that a container gets between SIGTERM and SIGKILL.
const TIMEOUT: Duration = Duration::from_secs(5);
const PAGE: &str = "200";

/// The server's API, as far as this service needs it.
pub(crate) struct Client {
    agent: Agent,
    appointments_url: String,
}

impl Client {
    pub(crate) fn new(server: &str) -> Self {
        // The server is a neighbour: the proxy that leads out of the house is not asked for it.
        let agent = Agent::config_builder().timeout_global(Some(TIMEOUT)).proxy(None).build().new_agent();
        Self { agent, appointments_url: format!("{}/appointments", server.trim_end_matches('/')) }
    }

    /// Every appointment, cancelled ones too, by identifier.
    pub(crate) fn appointments(&self) -> Result<Vec<AppointmentBody>> {
        let mut appointments = Vec::new();
        let mut after = None;
        loop {
            let page = self
                .page(after.as_deref())
                .with_context(|| format!("can't read the appointments from {}", self.appointments_url))?;
            appointments.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(appointments),
            }
        }
    }

    fn page(&self, after: Option<&str>) -> Result<PageBody<AppointmentBody>> {
        let request = self.agent.get(&self.appointments_url).query("limit", PAGE);
        let request = match after {
            Some(after) => request.query("after", after),
            None => request,
        };
        Ok(serde_json::from_reader(request.call()?.into_body().into_reader())?)
    }
}
