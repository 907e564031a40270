//! What rows share is equal.

use super::*;

#[test]
fn spans_of_one_name_share_attributes_only_when_they_are_equal() {
    let mut copier = Copier::default();
    let keeps = |key: &str| key != "left.out";
    let rows: [&[(&str, &str)]; 8] = [
        &[("a", "1"), ("b", "2")],
        &[("b", "2"), ("left.out", "x"), ("a", "1")],
        &[("a", "1")],
        &[("a", "1"), ("b", "3")],
        &[("a", "1"), ("a", "1")],
        &[("a", "1"), ("b", "3"), ("c", "4")],
        &[("left.out", "y")],
        &[],
    ];
    // In both orders, as each is compared with the one before.
    for row in rows.iter().chain(rows.iter().rev()) {
        let pairs = || row.iter().copied();
        let alone = Copier::default().attributes(pairs(), keeps);
        assert_eq!(copier.shared_attributes(&Text::from("GET /"), pairs, keeps), alone, "{row:?}");
    }
}
