use super::*;

fn columns() -> Vec<Column> {
    vec![
        Column::text("name", "Name").sorts().filter(Filter::Part),
        Column::text("state", "State").one_of(["held", "sent"]),
        Column::number("count", "Count").sorts(),
    ]
}

const LABELS: Labels = Labels { caption: "Things", empty: "Things will stand here.", file: "things" };

fn rows() -> Vec<Row> {
    let row = |name: &str, state: &str, n| Row::from(vec![Cell::text(name), Cell::text(state), Cell::Number(n)]);
    vec![row("Beta", "held", 2), row("alpha", "sent", 10), row("Gamma", "held", -3)]
}

fn names(query: &str) -> Vec<String> {
    let asked = Asked::read(&columns(), query).unwrap();
    held(LABELS, columns(), asked, rows(), "t").unwrap().rows.iter().map(|r| r.cells.first().unwrap().plain()).collect()
}

#[test]
fn a_list_filters_and_orders_by_what_its_columns_allow() {
    assert_eq!(names(""), ["Beta", "alpha", "Gamma"]);
    assert_eq!(names("by=name"), ["alpha", "Beta", "Gamma"]);
    assert_eq!(names("by=count&down=1"), ["alpha", "Beta", "Gamma"]);
    assert_eq!(names("by=count"), ["Gamma", "Beta", "alpha"]);
    assert_eq!(names("state=held"), ["Beta", "Gamma"]);
    assert_eq!(names("state=&name=MM"), ["Gamma"]);
    assert_eq!(names("name=%20alp%20"), ["alpha"]);
    for bad in ["count=3", "by=state", "by=nothing", "state=gone", "x=1", "as=xml", "name=a&name=b", "name=%00"] {
        assert!(Asked::read(&columns(), bad).is_err(), "{bad}");
    }
    assert!(Asked::read(&columns(), &format!("name={}", "x".repeat(201))).is_err());
    let asked = Asked::read(&columns(), "after=x").unwrap();
    assert!(held(LABELS, columns(), asked, rows(), "t").is_err());
}

#[test]
fn a_column_that_always_has_a_value_takes_its_first() {
    let columns =
        vec![Column::text("state", "State").filter(Filter::Always(vec![("held".into(), "Held".into()), ("sent".into(), "Sent".into())]))];
    assert_eq!(Asked::read(&columns, "").unwrap().filter("state"), Some("held"));
    assert_eq!(Asked::read(&columns, "state=sent").unwrap().filter("state"), Some("sent"));
}

#[test]
fn pages_follow_each_other_without_loss_and_keep_what_was_asked() {
    let many: Vec<Row> = (0..120).map(|n| Row::from(vec![Cell::text(format!("r{n}")), Cell::text("held"), Cell::Number(n)])).collect();
    let (mut query, mut seen) = ("state=held&by=count".to_owned(), Vec::new());
    loop {
        let asked = Asked::read(&columns(), &query).unwrap();
        let list = held(LABELS, columns(), asked, many.clone(), "t").unwrap();
        seen.extend(list.rows.iter().map(|r| r.cells.clone()));
        assert!(list.first.contains("state=held") && list.csv.contains("as=csv"));
        match list.next {
            Some(next) => query = next.trim_start_matches('?').to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, many.into_iter().map(|r| r.cells).collect::<Vec<_>>());
}

#[test]
fn no_cell_of_a_csv_is_a_formula_and_quotes_stay_quotes() {
    let cases = ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "\n=1", "a\"b", "a,b", "a\r\nb", "ordinary"];
    let rows: Vec<Row> = cases.iter().map(|c| Row::from(vec![Cell::text(*c), Cell::Nothing, Cell::Number(-3)])).collect();
    let text = csv::text(&columns(), &rows);
    assert!(text.starts_with("\"Name\",\"State\",\"Count\"\r\n\"'=1+1\",\"\",-3\r\n\"'+1\","), "{text}");
    for guarded in ["\"'-1\"", "\"'@x\"", "\"'\t=1\"", "\"' =1\"", "\"'\n=1\"", "\"a\"\"b\"", "\"a,b\"", "\"a\r\nb\"", "\"ordinary\""] {
        assert!(text.contains(guarded), "{guarded} in {text}");
    }
}

#[test]
fn what_stands_in_a_list_is_escaped_and_labelled() {
    let evil = "<script>alert(1)</script>\"'&";
    let button = Button::new("/x", "Do", evil).with("id", evil).asks("why", "Why");
    let row = Row { cells: vec![Cell::text(evil), Cell::Status(Mood::Bad, evil.into()), Cell::Number(1)], acts: vec![button] };
    let asked = Asked::read(&columns(), "name=%3Cscript").unwrap();
    let html = held(LABELS, columns(), asked, vec![row], evil).unwrap().render().unwrap();
    assert!(!html.contains("<script") && !html.contains("alert(1)<"), "{html}");
    assert!(html.contains("&#60;script"), "{html}");
    assert_eq!(html.matches("<label").count(), 3, "{html}");
}

#[test]
fn lists_of_one_page_are_asked_apart() {
    let query = "list=other&by=name&down=1";
    let main = Asked::read(&columns(), query).unwrap();
    assert_eq!((main.order, main.csv), (None, false));
    let other = Asked::of(Some("other"), &columns(), query).unwrap();
    assert_eq!(other.order, Some(("name", true)));
    assert!(other.address(None, None, true).contains("list=other") && !main.address(None, None, true).contains("list="));
    assert_eq!(Asked::of(Some("other"), &columns(), "by=name").unwrap().order, None, "that is asked of the main list");
    assert!(Asked::of(Some("other"), &columns(), "list=other&x=1").is_err());
}
