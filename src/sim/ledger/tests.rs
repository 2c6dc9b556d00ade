//! The judge, on its own.

use super::*;

fn ledger(publications: u32) -> Ledger {
    let mut ledger = Ledger::new(["a".to_owned()].into_iter());
    for sequence in 0..publications {
        ledger.publish((1, 1, sequence), 0, 0, 3);
    }
    ledger
}

fn kinds(ledger: &Ledger) -> Vec<&'static str> {
    ledger.violations.iter().map(|violation| violation.kind).collect()
}

#[test]
fn a_clean_run_is_clean() {
    let mut ledger = ledger(5);
    for number in 0..5 {
        let mut data = Vec::new();
        ledger.payload(number, &mut data);
        let data: Vec<u8> =
            data.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }).collect();
        assert_eq!(ledger.recognise(0, &data, false), Some(number));
        ledger.acknowledged(number);
        ledger.seen_at(0, "e", u64::from(number) + 1, number);
        ledger.seen_at(0, "e", u64::from(number) + 1, number);
    }
    ledger.judge(&[Some(("e".to_owned(), 5))]);
    assert_eq!(kinds(&ledger), [] as [&str; 0]);
}

#[test]
fn each_breach_is_named() {
    type Breach = fn(&mut Ledger);
    let cases: [(&str, Breach); 7] = [
        ("content_mismatch", |l| assert_eq!(l.recognise(0, b"{\"n\":1,\"by\":\"\"}", false), None)),
        ("content_mismatch", |l| {
            l.seen_at(0, "e", 1, 0);
            l.seen_at(0, "e", 1, 1);
        }),
        ("publication_doubled", |l| {
            l.seen_at(0, "e", 1, 0);
            l.seen_at(0, "e", 2, 0);
        }),
        ("connection_order_broken", |l| {
            l.seen_at(0, "e", 1, 1);
            l.seen_at(0, "e", 2, 0);
            l.judge(&[Some(("e".to_owned(), 2))]);
        }),
        ("acknowledged_lost", |l| {
            l.acknowledged(0);
            l.acknowledged(1);
            l.judge(&[Some(("e".to_owned(), 1))]);
        }),
        ("order_or_hole", |l| {
            l.seen_after(0, 0, 1);
            l.seen_after(0, 0, 2);
        }),
        ("offset_out_of_range", |l| l.seen_at(0, "e", 0, 0)),
    ];
    for (kind, breach) in cases {
        let mut ledger = ledger(3);
        breach(&mut ledger);
        assert_eq!(kinds(&ledger), [kind]);
    }
}

#[test]
fn who_is_passed_is_counted() {
    let mut ledger = ledger(4);
    for (number, handed) in [(0, 9), (1, 2), (2, 3), (3, 4)] {
        ledger.publications[number as usize].alone = true;
        ledger.handed_over(number, handed);
        ledger.seen_at(0, "e", u64::from(number) + 1, number);
    }
    assert_eq!(ledger.most_passed(), (1, 1));
    let mut other = self::ledger(3);
    for (number, handed, offset) in [(0, 1, 3), (1, 2, 1), (2, 3, 2)] {
        other.publications[number as usize].alone = number == 0;
        other.handed_over(number, handed);
        other.seen_at(0, "e", offset, number);
    }
    assert_eq!(other.most_passed(), (2, 0));
}
