//! Limits of this process that are set when it starts.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Switches core dumps off, since the memory holds secrets and what was said. Other processes of the same user can no
/// longer read the memory either. A system that refuses leaves things as they are.
pub(crate) fn forbid_core_dumps() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Raises the limit of descriptors to the highest that the system grants.
pub(super) fn raise_descriptor_limit() {
    let granted = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: granted.maximum, ..granted });
}
