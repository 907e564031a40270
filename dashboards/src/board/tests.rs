//! What a board file may say, and what an error about it says.

use super::*;

fn board(panel: &str) -> String {
    format!("schema = 1\ntitle = \"T\"\n\n[[row]]\n[[row.panel]]\n{panel}\n")
}

/// Asserts that `text` is refused at `line:column` with a message that contains `problem`.
fn refused(text: &str, place: &str, problem: &str) {
    let error = parse("t.toml", text).expect_err("the board is wrong").to_string();
    let rest = error.strip_prefix(&format!("t.toml:{place}: ")).unwrap_or_else(|| panic!("{error}"));
    assert!(rest.contains(problem), "{error}");
}

#[test]
fn the_shop_board_is_valid_and_has_every_kind_of_panel() {
    let board = parse("shop.toml", SHOP).expect("the board we ship");
    for kind in [PanelKind::Stat, PanelKind::Timeseries, PanelKind::Table] {
        assert!(board.rows.iter().flat_map(|row| &row.panels).any(|panel| panel.kind == kind), "{kind:?}");
    }
    let asks = |pick: fn(&Panel) -> bool| board.rows.iter().flat_map(|row| &row.panels).any(pick);
    assert!(asks(|panel| panel.promql.is_some()));
    assert!(asks(|panel| panel.logs.is_some()));
    assert!(asks(|panel| panel.sql.is_some()));
}

#[test]
fn every_board_we_ship_is_valid() {
    for (name, text) in SHIPPED {
        parse(&format!("{name}.toml"), text).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_small_board_has_defaults_for_everything_else() {
    let text = board("type = \"stat\"\ntitle = \"up\"\npromql = \"up\"");
    let board = parse("t.toml", &text).expect("valid");
    assert_eq!((board.range.as_str(), board.refresh.as_str()), ("15m", "10s"));
    assert_eq!(board.rows[0].panels[0].weight, 1);
}

#[test]
fn a_misspelt_key_is_named_with_its_place_and_the_nearest_key() {
    refused(
        &board("type = \"stat\"\ntilte = \"up\"\npromql = \"up\""),
        "7:1",
        "unknown key `tilte`: did you mean `title`?",
    );
    refused("schema = 1\ntitle = \"T\"\nrefesh = \"5s\"\nrow = []", "3:1", "did you mean `refresh`?");
    refused(
        &board("type = \"stat\"\ntitle = \"x\"\ncolour = 1"),
        "8:1",
        "unknown key `colour`: valid are `type`",
    );
}

#[test]
fn a_misspelt_panel_type_or_unit_is_named_with_the_nearest() {
    refused(&board("type = \"stats\"\ntitle = \"x\"\npromql = \"up\""), "6:8", "did you mean `stat`?");
    refused(
        &board("type = \"stat\"\ntitle = \"x\"\npromql = \"up\"\nunit = \"percents\""),
        "9:8",
        "did you mean `percent`?",
    );
}

#[test]
fn broken_toml_and_missing_keys_have_a_place_too() {
    refused("schema = 1\ntitle = \"T\nrow = []", "2:11", "invalid basic string");
    refused(&board("type = \"stat\"\npromql = \"up\""), "5:1", "missing key `title`");
    refused("schema = \"1\"\ntitle = \"T\"\nrow = []", "1:10", "invalid type");
}

#[test]
fn rules_between_keys_point_at_the_key_that_breaks_them() {
    refused("schema = 2\ntitle = \"T\"\nrow = []", "1:10", "schema 2 is not known");
    refused("schema = 1\ntitle = \"T\"\nrow = []", "3:7", "at least one row");
    refused("schema = 1\ntitle = \"T\"\nrange = \"15\"\nrow = []", "3:9", "`15` is no duration");
    let stat = "type = \"stat\"\ntitle = \"x\"\n";
    refused(&board(stat), "5:1", "panel `x` asks nothing");
    refused(
        &board(&format!("{stat}promql = \"up\"\nlogs = \"x\"")),
        "5:1",
        "asks `promql`, `logs`: keep one",
    );
    refused(&board(&format!("{stat}sql = \"select 1\"")), "8:7", "not `sql`");
    refused(&board(&format!("{stat}promql = \"up\"\nweight = 0")), "9:10", "weight 0");
    refused(&board("type = \"timeseries\"\ntitle = \"x\"\nlogs = \"x\""), "8:8", "draws `promql`");
    refused(&board("type = \"table\"\ntitle = \"x\"\nsql = \"x\"\nspark = true"), "9:9", "only a stat");
}

#[test]
fn columns_count_characters_not_bytes() {
    let text = "schema = 1\ntitle = \"T\"\nrow = [{ panel = [{ title = \"ä\", tipe = 1 }] }]";
    refused(text, "3:34", "did you mean `type`?");
}

#[test]
fn a_folder_yields_its_good_boards_and_says_what_is_wrong_with_the_others() {
    let dir = std::env::temp_dir().join(format!("silmari-boards-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    for (name, text) in
        [("b.toml", SHOP), ("a.toml", SHOP), ("bad.toml", "schema = 1\nname = 2"), ("x.md", "no")]
    {
        std::fs::write(dir.join(name), text).expect("a file");
    }
    let (boards, errors) = load_dir(&dir);
    std::fs::remove_dir_all(&dir).expect("cleaned up");
    assert_eq!(boards.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("bad.toml:2:1: unknown key `name`"), "{}", errors[0]);
    let (boards, errors) = load_dir(&dir);
    assert!(boards.is_empty() && errors.len() == 1, "a missing folder is an error, not a panic");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        drop(parse("t.toml", &text));
    }

    #[test]
    fn cutting_and_changing_the_shop_board_never_panics(at in 0..SHOP.len(), with in "[\\[\\]{}=\"\n,0a]{0,3}") {
        let at = (0..=at).rev().find(|at| SHOP.is_char_boundary(*at)).unwrap_or(0);
        let text = format!("{}{with}{}", &SHOP[..at], &SHOP[at..]);
        drop(parse("t.toml", &text));
    }
}
