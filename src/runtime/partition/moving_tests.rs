use super::*;

#[test]
fn a_step_of_a_move_that_is_not_fails_as_over() {
    let error = MoveError::from(AppendError::Disk(io::Error::from_raw_os_error(28)));
    assert!(matches!(error, MoveError::Io(error) if error.raw_os_error() == Some(28)));
}
