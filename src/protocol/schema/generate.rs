//! Writes the types of `messages/generated` from the table.
