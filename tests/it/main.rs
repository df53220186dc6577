//! The integration suite: real programs on loopback.
