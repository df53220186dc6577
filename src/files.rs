//! Files replaced whole, data directories, bounded reads.
