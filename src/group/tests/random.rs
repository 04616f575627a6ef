//! Groups left to chance.
