//! Checks of the tree itself.

use fuseboard_tests::codegen;

/// Run with `UPDATE_GENERATED=1` after a change of a `.proto`.
#[test]
fn generated_code_is_fresh() {
    let write = std::env::var_os("UPDATE_GENERATED").is_some();
    let stale = codegen::generate(write).expect("the protos compile");
    assert!(
        write || stale.is_empty(),
        "stale: {stale:?}; run UPDATE_GENERATED=1 cargo test -p fuseboard-tests generated"
    );
}
