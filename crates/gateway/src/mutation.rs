//! One protection switched off, so that simulations can prove that they would notice. In no binary: the feature adds a
//! field to [`Parts`](crate::Parts) that its wiring does not set.

/// What is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Every claim is granted, whoever holds the root, whatever is under way and however often it was done.
    Ledger,
    /// A request whose answer nobody has is sent again at once, under whosever claim.
    Fence,
    /// A proposal is believed: the action is indicated whatever the target is like.
    Indication,
    /// What was done has helped, whatever the target is like.
    Verification,
}
