//! The engine with one protection switched off, to see that scenarios and invariants notice.

/// A protection that is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// The ledger grants every claim.
    Ledger,
    /// A request whose answer nobody has is sent again at once.
    Fence,
    /// What a proposal says is believed.
    Indication,
    /// The exporter's own pod counts as what an alert is about.
    Targets,
    /// Whatever was done has helped.
    Verification,
}

impl Mutation {
    /// The gateway's, if it is one of its own.
    pub(crate) fn of_gateway(self) -> Option<evenkeel_gateway::Mutation> {
        match self {
            Self::Ledger => Some(evenkeel_gateway::Mutation::Ledger),
            Self::Fence => Some(evenkeel_gateway::Mutation::Fence),
            Self::Indication => Some(evenkeel_gateway::Mutation::Indication),
            Self::Verification => Some(evenkeel_gateway::Mutation::Verification),
            Self::Targets => None,
        }
    }
}
