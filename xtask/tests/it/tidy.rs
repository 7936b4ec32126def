//! ARCHITECTURE.md's promises about the code hold.

use crate::{told, xtask};

#[test]
fn the_rules_hold_on_this_repository() {
    let output = xtask(&["tidy"]);
    assert!(output.status.success(), "{}", told(&output));
}
