//! Questions and messages, without a Redis.

use super::*;
use crate::contract::user::{Selection, UserAction, UserCommand};

const OWN: NodeId = NodeId([1; 16]);
const TWO: NodeId = NodeId([2; 16]);
const THREE: NodeId = NodeId([3; 16]);
const SOON_MS: u64 = 100;

fn what() -> SharedCommand {
    let action = UserAction::Disconnect { code: 4_000, reason: "r".into() };
    SharedCommand::from(UserCommand { selection: Selection::default(), action })
}

fn ask(control: &mut Control, call: u64, nodes: &[NodeId]) -> QuestionId {
    control.ask((0, CallId(call)), ("u".into(), what()), nodes, 50)
}

/// Carries a letter of one to the other.
fn carry(letter: &Letter, id: &str, to: &mut Control) -> Option<Entry> {
    assert_eq!(letter.to, to.own);
    to.take_entry(id, &letter.data, SOON_MS - 1)
}

/// The command of an entry.
fn command(entry: Option<Entry>) -> u64 {
    let Some(Entry::Command(incoming)) = entry else { panic!("{entry:?}") };
    assert_eq!((incoming.user.as_str(), &incoming.what), ("u", &what()));
    incoming.number
}

#[test]
fn all_who_hold_the_user_are_asked_and_have_to_answer() {
    let (mut one, mut two) = (Control::new(OWN), Control::new(TWO));
    let id = ask(&mut one, 7, &[TWO]);
    one.take_holder(id, TWO, true, SOON_MS);
    assert_eq!(one.take_nodes(id, &[OWN, TWO, THREE]), [THREE], "who is new is looked up as well");
    one.take_holder(id, THREE, false, SOON_MS);
    let letter = one.take_letter().expect("a message for the holder");
    assert_eq!(one.take_letter(), None, "nobody else is asked");
    assert!(one.take_answered(id).is_none());
    let number = command(carry(&letter, "1-0", &mut two));
    two.command_done(number, true);
    let answer = two.take_letter().expect("an answer");
    assert_eq!(carry(&answer, "1-0", &mut one), Some(Entry::Answer(id)));
    let over = one.take_answered(id).expect("all have answered");
    assert_eq!((over.call, over.missing().count()), (CallId(7), 0));
    assert!(one.questions.is_empty() && two.commands.is_empty());
}

#[test]
fn who_does_not_answer_in_time_is_missing() {
    let mut one = Control::new(OWN);
    let id = ask(&mut one, 7, &[TWO, THREE]);
    one.take_nodes(id, &[]);
    one.take_holder(id, TWO, true, SOON_MS);
    one.take_holder(id, THREE, true, SOON_MS);
    let first = one.take_letter().expect("a message");
    assert_eq!(first.about, About::Question(id));
    one.not_asked(id, first.to);
    assert!(one.take_overdue(49).is_none());
    let over = one.take_overdue(50).expect("its time is over");
    assert_eq!(over.missing().collect::<Vec<_>>(), [TWO, THREE]);
}

#[test]
fn who_has_ended_is_not_waited_for_and_not_missing() {
    let mut one = Control::new(OWN);
    let id = ask(&mut one, 7, &[TWO, THREE]);
    one.take_nodes(id, &[]);
    one.take_holder(id, TWO, true, SOON_MS);
    one.take_holder(id, THREE, true, SOON_MS);
    assert_eq!(one.gone(TWO), [id]);
    assert_eq!(one.gone(TWO), [0; 0]);
    assert!(one.take_answered(id).is_none(), "the other one has to answer");
    assert_eq!(one.gone(THREE), [id]);
    assert_eq!(one.take_answered(id).map(|over| over.missing().count()), Some(0));
}

#[test]
fn nobody_holds_a_user_and_nobody_is_asked() {
    let mut one = Control::new(OWN);
    let id = ask(&mut one, 7, &[TWO]);
    one.take_holder(id, TWO, false, SOON_MS);
    one.take_nodes(id, &[TWO]);
    assert!(one.take_answered(id).is_some() && one.take_letter().is_none());
}

#[test]
fn a_message_is_taken_once_and_not_after_its_time() {
    let (mut one, mut two) = (Control::new(OWN), Control::new(TWO));
    let letters: Vec<Letter> = (0..3)
        .map(|call| {
            let id = ask(&mut one, call, &[TWO]);
            one.take_holder(id, TWO, true, SOON_MS);
            one.take_letter().expect("a message")
        })
        .collect();
    command(carry(&letters[2], "1-0", &mut two));
    command(carry(&letters[0], "2-0", &mut two));
    for letter in [&letters[0], &letters[2]] {
        assert_eq!(carry(letter, "3-0", &mut two), None, "it was taken before");
    }
    assert_eq!(two.take_entry("4-0", &letters[1].data, SOON_MS), None, "nobody waits for it");
    assert_eq!(two.take_entry("5-0", b"\xc1", 0), None);
    assert_eq!(&*two.last, "5-0");
}

#[test]
fn messages_taken_are_remembered_by_their_numbers() {
    let mut seen = Seen { highest: 5, before: 0 };
    let taken = [6, 6, 5, 200, 199, 199, 6, 90, 90, 72, 71].map(|number| seen.take(number));
    // What lies too far below was taken, or will not be.
    let expected = [true, false, false, true, true, false, false, true, false, true, false];
    assert_eq!(taken, expected);
}

#[test]
fn a_stream_is_read_when_it_rang_and_there_is_room() {
    let (mut one, mut two) = (Control::new(OWN), Control::new(TWO));
    assert_eq!(two.take_read(), None);
    two.rung();
    assert_eq!(two.take_read(), Some("0-0"));
    two.rung();
    assert_eq!(two.take_read(), None, "one read at a time");
    let mut numbers = Vec::new();
    for call in 0..CONTROL_COMMANDS as u64 {
        let id = ask(&mut one, call, &[TWO]);
        one.take_holder(id, TWO, true, SOON_MS);
        let letter = one.take_letter().expect("a message");
        numbers.push(command(carry(&letter, "7-1", &mut two)));
    }
    two.read(false);
    assert_eq!(two.take_read(), None, "enough is under way");
    two.command_done(numbers[0], true);
    assert_eq!(two.take_read(), Some("7-1"));
    two.not_read();
    assert_eq!(two.take_read(), None);
    two.forgotten();
    two.rung();
    assert_eq!(two.take_read(), Some("0-0"));
}

#[test]
fn what_redis_was_asked_is_lost_with_the_connection_and_what_was_sent_is_not() {
    let (mut one, mut two) = (Control::new(OWN), Control::new(TWO));
    let (lost, sent) = (ask(&mut one, 1, &[TWO]), ask(&mut one, 2, &[TWO]));
    one.take_nodes(sent, &[]);
    one.take_holder(sent, TWO, true, SOON_MS);
    let letter = one.take_letter().expect("a message");
    assert_eq!(one.lost().len(), 1);
    assert!(one.question(lost).is_none() && one.question(sent).is_some());
    one.send_again(letter.clone());
    let again = one.take_letter().expect("it is sent again");
    assert_eq!(again, letter);
    command(carry(&letter, "1-0", &mut two));
    assert_eq!(carry(&again, "2-0", &mut two), None);
}

#[test]
fn a_list_is_asked_for_and_answered_by_messages() {
    let (mut one, mut two) = (Control::new(OWN), Control::new(TWO));
    let ask = Some(Ask::Channels { pattern: "a*".into() });
    let ask = Message { question: 9, deadline_ms: SOON_MS, ask, ..Message::default() };
    assert!(one.write(TWO, ask.clone(), About::List(9)));
    let letter = one.take_letter().expect("a message");
    let list = Entry::List { of: (OWN, 9), pattern: "a*".into(), deadline_ms: SOON_MS };
    assert_eq!(carry(&letter, "1-0", &mut two), Some(list));
    assert_eq!(carry(&letter, "2-0", &mut two), None, "it is taken once");
    assert!(one.write(TWO, ask, About::List(9)));
    let letter = one.take_letter().expect("a message");
    assert_eq!(two.take_entry("3-0", &letter.data, SOON_MS), None, "nobody waits for it");
    let part = Part { is_last: true, channels: vec![("ab".into(), 2)], ..Part::default() };
    let answer = Some(Reply::Channels(part.clone()));
    let answer = Message { question: 9, answer, ..Message::default() };
    assert!(two.write(OWN, answer, About::Part(1)));
    let letter = two.take_letter().expect("an answer");
    let entry = carry(&letter, "1-0", &mut one);
    assert_eq!(entry, Some(Entry::Part { list: 9, from: TWO, part }));
}
