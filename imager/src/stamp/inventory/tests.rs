//! A table of good and bad inventories.

use super::*;

const HEADER: &str = "name,serial,mac,board,hub,hub_pin,join_token,config,labels\n";

fn error(text: &[u8]) -> String {
    parse(text).expect_err("refused").to_string()
}

#[test]
fn a_full_row_and_a_short_one() {
    let pin = "ab".repeat(32);
    let text = format!(
        "\u{feff}{HEADER}box-1,S1,52:54:00:AA:bb:01,nuc,https://hub.example,{pin},auto,box-1.yaml,\"shop=4,2;row=b\"\r\n\r\n\
         box-2,,,nuc,,,none,none,\r\n"
    );
    let rows = parse(text.as_bytes()).expect("good");
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].line, rows[1].line), (2, 4));
    assert_eq!(rows[0].mac.as_ref().map(MacAddress::as_str), Some("52:54:00:aa:bb:01"));
    assert_eq!((&rows[0].token, &rows[0].config), (&Token::Auto, &ConfigChoice::Given("box-1.yaml".into())));
    assert_eq!(rows[0].labels, BTreeMap::from([("shop".into(), "4,2".into()), ("row".into(), "b".into())]));
    assert_eq!(rows[1].token, Token::None);
    assert!(rows[1].serial.is_none() && rows[1].hub.is_none());
    assert_eq!((&rows[1].config, &rows[1].identity), (&ConfigChoice::None, &IdentityChoice::Own));
    assert_eq!(parse(b"board,name\nnuc,a").expect("columns in any order")[0].board, "nuc");
}

#[test]
fn what_a_row_leaves_open_is_told_from_what_it_refuses() {
    let rows = parse(b"name,board,config,identity\na,nuc,,\nb,nuc,none,none\nc,nuc,c.yaml,auto\nd,nuc,,d.key\n").expect("good");
    let choices: Vec<_> = rows.into_iter().map(|row| (row.config, row.identity)).collect();
    let expected = [
        (ConfigChoice::Unsaid, IdentityChoice::Own),
        (ConfigChoice::None, IdentityChoice::Own),
        (ConfigChoice::Given("c.yaml".into()), IdentityChoice::Auto),
        (ConfigChoice::Unsaid, IdentityChoice::Given("d.key".into())),
    ];
    assert_eq!(choices, expected);
}

#[test]
fn headers_that_are_wrong() {
    for (text, expected) in [
        ("", "lists no device"),
        ("name,board\n", "lists no device"),
        ("name,bord\na,nuc\n", "line 1, column 2 (`bord`): there is no such column"),
        ("name;board\na;nuc\n", "separated by commas"),
        ("name,board,name\na,nuc,b\n", "line 1, column 3 (`name`): the column stands twice"),
        ("name,serial\na,b\n", "no column `board`"),
    ] {
        assert!(error(text.as_bytes()).contains(expected), "{}", error(text.as_bytes()));
    }
}

#[test]
fn values_that_are_wrong_are_told_with_line_and_column() {
    let pin = "ab".repeat(32);
    for (row, expected) in [
        (",S,,nuc,,,,,".to_owned(), "line 2, column 1 (`name`): it is empty"),
        ("Box 1,S,,nuc,,,,,".into(), "line 2, column 1 (`name`): `Box 1` is not a host name"),
        ("../a,S,,nuc,,,,,".into(), "column 1 (`name`)"),
        ("a,S,,,,,,,".into(), "column 4 (`board`): it is empty"),
        ("a, S,,nuc,,,,,".into(), "column 2 (`serial`): it begins or ends with a space"),
        ("a,S,12:34,nuc,,,,,".into(), "column 3 (`mac`): `12:34` is not a MAC address"),
        ("a,S,,nuc,https://h,,,,".into(), "column 5 (`hub`): it needs a pin"),
        (format!("a,S,,nuc,,{pin},,,"), "column 6 (`hub_pin`): it pins no hub"),
        (format!("a,S,,nuc,http://h,{pin},,,"), "column 5 (`hub`): `http://h`"),
        ("a,S,,nuc,https://h,abc,,,".into(), "column 6 (`hub_pin`)"),
        ("a,S,,nuc,,,auto,,".into(), "column 7 (`join_token`): there is no hub"),
        (format!("a,S,,nuc,https://h,{pin},short,,"), "16 to 256 visible"),
        ("a,S,,nuc,,,,,shop".into(), "column 9 (`labels`): `shop` is not a label"),
        ("a,S,,nuc,,,,,k=1;k=2".into(), "the label `k` stands twice"),
        ("a,S,,nuc,,,,".into(), "line 2: it has 8 values, the header has 9"),
        ("a,\"S,,nuc,,,,,\nb,T,,nuc,,,,,".into(), "line 2: it has 2 values"),
        ("a,S,,nuc,,,,,\"k=v\nb,T,,nuc,,,,,".into(), "is a quote not closed?"),
    ] {
        let error = error(format!("{HEADER}{row}\n").as_bytes());
        assert!(error.contains(expected) && !error.contains("short"), "{error} lacks {expected}");
    }
    assert!(error(b"name,board\n\xff,nuc\n").contains("not UTF-8"));
}

#[test]
fn the_way_to_a_hub_is_read_from_its_columns() {
    let pin = "ab".repeat(32);
    let header = "name,board,hub,hub_pin,hub_fallbacks,hub_proxy,hub_proxy_user,hub_proxy_password,hub_proxy_pin";
    let row = |rest: &str| parse(format!("{header}\na,nuc,{rest}\n").as_bytes()).map(|rows| rows[0].hub.clone());
    let plain = row(&format!("https://h,{pin},,,,,")).expect("good").expect("a hub");
    assert_eq!((plain.fallbacks.len(), plain.proxy), (0, None));
    let full =
        row(&format!("https://h,{pin},https://i;https://j:8443,https://p:3129,kim,pa55,{pin}")).expect("good").expect("a hub");
    assert_eq!(full.fallbacks, ["https://i", "https://j:8443"]);
    let proxy = full.proxy.expect("a proxy");
    assert_eq!(
        (proxy.url.as_str(), proxy.user.as_deref(), proxy.pin.as_deref()),
        ("https://p:3129", Some("kim"), Some(pin.as_str()))
    );
    assert_eq!(proxy.password.map(|password| password.expose().to_owned()).as_deref(), Some("pa55"));
    for (rest, expected) in [
        (format!("https://h,{pin},http://i,,,,"), "column 5 (`hub_fallbacks`): `http://i`"),
        (format!("https://h,{pin},,ftp://p:1,,,"), "column 6 (`hub_proxy`): `ftp://p:1`"),
        (format!("https://h,{pin},,https://p:1,,,"), "column 6 (`hub_proxy`): `pin` must be set too"),
        (format!("https://h,{pin},,http://p:1,kim,,"), "column 6 (`hub_proxy`): `password` must be set too"),
        (format!("https://h,{pin},,,kim,pa55,"), "column 6 (`hub_proxy`): it is empty"),
        (format!("https://h,{pin},,http://p:1,a:b,pa55,"), "column 7 (`hub_proxy_user`)"),
        (format!("https://h,{pin},,http://p:1,,,{pin}"), "column 9 (`hub_proxy_pin`): it has no effect here"),
        (",,,http://p:1,,,".to_owned(), "column 6 (`hub_proxy`): it is about a hub"),
    ] {
        let error = row(&rest).expect_err("refused").to_string();
        assert!(error.contains(expected) && !error.contains("pa55"), "{error} lacks {expected}");
    }
}

#[test]
fn one_proxy_for_all_gives_way_to_that_of_a_row() {
    let pin = "ab".repeat(32);
    let text =
        format!("name,board,hub,hub_pin,hub_proxy\na,nuc,https://h,{pin},\nb,nuc,https://h,{pin},http://own:1\nc,nuc,,,\n");
    let mut rows = parse(text.as_bytes()).expect("good");
    behind_proxy(&mut rows, "http://all:3128").expect("good");
    let proxies: Vec<_> =
        rows.iter().map(|row| row.hub.as_ref().and_then(|hub| hub.proxy.as_ref()).map(|proxy| proxy.url.as_str())).collect();
    assert_eq!(proxies, [Some("http://all:3128"), Some("http://own:1"), None]);
    let mut rows = parse(text.as_bytes()).expect("good");
    for bad in ["all:3128", "https://all:3128", "http://kim:pa55@all:3128"] {
        let error = behind_proxy(&mut rows, bad).expect_err("refused").to_string();
        assert!(error.contains("hub.proxy") && !error.contains("pa55"), "{error}");
        rows[0].hub.iter_mut().for_each(|hub| hub.proxy = None);
    }
    let mut rows = parse(b"name,board\na,nuc\n").expect("good");
    assert!(behind_proxy(&mut rows, "http://all:3128").expect_err("refused").to_string().contains("no row has a hub"));
}

#[test]
fn two_devices_never_share_name_serial_or_address() {
    for (rows, expected) in [
        ("a,S,,nuc\nb,T,,nuc\na,U,,nuc\n", "line 4, column 1 (`name`): `a` stands at line 2"),
        ("a,S,,nuc\nb,S,,nuc\n", "line 3, column 2 (`serial`): `S` stands at line 2"),
        ("a,,52:54:00:00:00:0a,nuc\nb,,52:54:00:00:00:0A,nuc\n", "column 3 (`mac`)"),
    ] {
        let error = error(format!("name,serial,mac,board\n{rows}").as_bytes());
        assert!(error.contains(expected), "{error}");
    }
}
