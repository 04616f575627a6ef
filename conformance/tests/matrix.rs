//! `MATRIX.md` says what backs each API and version, and nothing is served that is not backed.

use std::path::Path;

use conformance::matrix::Evidence;

#[test]
fn what_is_served_is_backed_and_the_matrix_says_by_what() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let evidence = Evidence::read(&root.join("scripts")).unwrap();
    let (path, matrix) = (root.join("MATRIX.md"), evidence.matrix());
    if std::env::var_os("DOHLE_BLESS").is_some() {
        std::fs::write(&path, &matrix).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap_or_default(),
        matrix,
        "DOHLE_BLESS=1 writes it anew"
    );
    let unbacked = evidence.unbacked();
    assert!(unbacked.is_empty(), "{}", unbacked.join("\n"));
}
