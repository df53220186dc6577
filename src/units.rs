//! Durations, sizes and addresses as people write them.

/// A host (name or literal address) and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    pub host: Box<str>,
    pub port: u16,
}
