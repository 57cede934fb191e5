use std::fmt;

use crate::BusError;

/// The cluster's name as one NATS token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cluster(String);

impl Cluster {
    /// Takes a name of 1 to 63 lower-case letters, digits and hyphens.
    ///
    /// # Errors
    /// [`BusError::Name`] for any other.
    pub fn new(name: &str) -> Result<Self, BusError> {
        let fits = (1..=63).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(Self(name.to_owned()))
        } else {
            Err(BusError::Name {
                found: name.to_owned(),
                expected: "a cluster name of 1 to 63 lower-case letters, digits and hyphens",
            })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The durable streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// What the observer saw.
    Signals,
    /// What the reasoner proposes.
    Proposals,
    /// What the gateway did.
    Outcomes,
    /// What gateways have to record; sealed into the audit log.
    Audit,
    /// Scheduled wake-ups of incidents.
    WakeUps,
    /// Messages nobody could handle, with the reason.
    Dead,
}

impl Stream {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Signals, Self::Proposals, Self::Outcomes, Self::Audit, Self::WakeUps, Self::Dead];

    /// The token in subjects.
    pub fn token(self) -> &'static str {
        match self {
            Self::Signals => "signal",
            Self::Proposals => "proposal",
            Self::Outcomes => "outcome",
            Self::Audit => "audit",
            Self::WakeUps => "wake",
            Self::Dead => "dead",
        }
    }
}

/// The durable consumers. Each belongs to one plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consumer {
    /// The reasoner's, on [`Stream::Signals`]. Autoscaling looks at this one.
    ReasonerSignals,
    /// The reasoner's, on [`Stream::Outcomes`].
    ReasonerOutcomes,
    /// The reasoner's, on [`Stream::WakeUps`].
    ReasonerWakeUps,
    /// The gateway's, on [`Stream::Proposals`].
    GatewayProposals,
    /// The sealer's, on [`Stream::Audit`]: what it has not acknowledged is not sealed.
    GatewayAudit,
}

impl Consumer {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ReasonerSignals,
        Self::ReasonerOutcomes,
        Self::ReasonerWakeUps,
        Self::GatewayProposals,
        Self::GatewayAudit,
    ];

    /// The stream it reads.
    pub fn stream(self) -> Stream {
        match self {
            Self::ReasonerSignals => Stream::Signals,
            Self::ReasonerOutcomes => Stream::Outcomes,
            Self::ReasonerWakeUps => Stream::WakeUps,
            Self::GatewayProposals => Stream::Proposals,
            Self::GatewayAudit => Stream::Audit,
        }
    }

    /// Its durable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReasonerSignals => "reasoner-signals",
            Self::ReasonerOutcomes => "reasoner-outcomes",
            Self::ReasonerWakeUps => "reasoner-wake-ups",
            Self::GatewayProposals => "gateway-proposals",
            Self::GatewayAudit => "gateway-audit",
        }
    }
}

/// A subject under `evenkeel.v1.<cluster>`, for publishing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// `….signal.<source>`, where source is one token such as `alertmanager`.
    Signal {
        /// Where the signal was seen.
        source: &'static str,
    },
    /// `….proposal`
    Proposal,
    /// `….outcome`
    Outcome,
    /// `….audit`
    Audit,
}

impl Subject {
    /// The stream that stores it.
    pub fn stream(&self) -> Stream {
        match self {
            Self::Signal { .. } => Stream::Signals,
            Self::Proposal => Stream::Proposals,
            Self::Outcome => Stream::Outcomes,
            Self::Audit => Stream::Audit,
        }
    }

    /// The whole subject.
    pub fn render(&self, cluster: &Cluster) -> String {
        match self {
            Self::Signal { source } => format!("evenkeel.v1.{cluster}.signal.{source}"),
            Self::Proposal => format!("evenkeel.v1.{cluster}.proposal"),
            Self::Outcome => format!("evenkeel.v1.{cluster}.outcome"),
            Self::Audit => format!("evenkeel.v1.{cluster}.audit"),
        }
    }
}

/// `….evidence.<query>`: request and reply, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EvidenceSubject(pub &'static str);

impl EvidenceSubject {
    /// The whole subject.
    pub fn render(self, cluster: &Cluster) -> String {
        format!("evenkeel.v1.{cluster}.evidence.{}", self.0)
    }
}
