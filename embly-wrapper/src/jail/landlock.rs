//! Landlock: rules of the kernel about files, ports, signals and sockets of others, which a
//! process lays down for itself.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope,
};

/// All that the newest version known here can forbid; an older kernel takes what it knows.
const NEWEST: ABI = ABI::V9;

/// Nothing may be opened, no port used, nobody outside signalled or connected to.
///
/// # Errors
/// When the kernel has no landlock.
pub fn no_rights() -> io::Result<()> {
    let restricted = (|| -> Result<RestrictionStatus, RulesetError> {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?
            .restrict_self()
    })();
    match restricted.map_err(io::Error::other)? {
        RestrictionStatus {
            ruleset: RulesetStatus::NotEnforced,
            landlock,
            ..
        } => Err(io::Error::other(match landlock {
            LandlockStatus::NotEnabled => "switched off in this kernel",
            LandlockStatus::NotImplemented => "not part of this kernel",
            LandlockStatus::Available { .. } => "not enforced",
        })),
        _ => Ok(()),
    }
}
