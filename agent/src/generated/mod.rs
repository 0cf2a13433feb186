//! Code made from `agent/policy/proto`; see the tests' crate for how.

#[expect(unreachable_pub, reason = "generated code")]
pub(crate) mod control {
    include!("control.rs");
}
