//! Landlock: rules of the kernel about files, ports, signals and sockets of others, which a
//! process lays down for itself.

use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope,
};

/// All that the newest version known here can forbid; an older kernel takes what it knows.
const NEWEST: ABI = ABI::V9;

/// Nothing may be opened, no port used, nobody outside signalled or connected to.
///
/// # Errors
/// When the kernel has no landlock.
pub fn no_rights() -> io::Result<()> {
    files_only(&[])
}

/// The same but for these files, to read, and where it says so to write. They are there.
///
/// # Errors
/// When the kernel has no landlock, or one of the files cannot be opened.
pub fn files_only(files: &[(&Path, bool)]) -> io::Result<()> {
    let files = files
        .iter()
        .map(|(path, write)| Ok((PathFd::new(path).map_err(io::Error::other)?, *write)));
    let files = files.collect::<io::Result<Vec<_>>>()?;
    let restricted = (|| -> Result<RestrictionStatus, RulesetError> {
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?;
        for (file, write) in files {
            let read: BitFlags<AccessFs> = AccessFs::ReadFile.into();
            let access = match write {
                true => read | AccessFs::WriteFile | AccessFs::Truncate,
                false => read,
            };
            ruleset = ruleset.add_rule(PathBeneath::new(file, access))?;
        }
        ruleset.restrict_self()
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
