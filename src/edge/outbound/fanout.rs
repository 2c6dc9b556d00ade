//! Fan-out on one core: publications are framed once per channel, turn and variant, then one pass
//! over the dense list of subscribers gives each its variant's range.
//!
//! Invariant: nothing is added to or removed from a list inside its pass; what was staged for a
//! channel is marked before a subscriber is added to it (rule 11).

#[cfg(feature = "sabotage")]
mod sabotage;

use super::staging::{Staged, What};
use crate::codec::command::Named;
use crate::contract::block::Block;
use crate::contract::envelope::Member;
use crate::contract::key::ConnectionKey;
use crate::edge::Edge;
use crate::edge::channels::filters::ChargedFilters;
use crate::edge::channels::{EdgeChannel, Form, NO_FILTER, Variant, number_of};
use crate::edge::connection::SubscriptionState;
use crate::edge::ids::client_id::ClientIds;
use crate::edge::output::arena::{Output, Range};
use crate::edge::output::frames::{formed, info, publisher_id};
use crate::rules::sabotage;
use crate::work::cost;

/// A run's range by variant; empty where nobody has the variant.
struct Ranges {
    by_variant: [Range; Variant::COUNT],
    longest_bytes: u32,
}

impl Ranges {
    fn new() -> Ranges {
        Ranges { by_variant: [Range { start: 0, end: 0 }; Variant::COUNT], longest_bytes: 0 }
    }

    fn set(&mut self, variant: Variant, range: Range) {
        self.by_variant[variant.index()] = range;
        self.longest_bytes = self.longest_bytes.max(range.end - range.start);
    }

    fn of(&self, variant: Variant) -> Range {
        self.by_variant[variant.index()]
    }
}

impl Edge {
    /// Stages a publication, in lane order.
    pub(in crate::edge) fn stage_publication(&mut self, channel: u32, offset: u64, block: Block) {
        if offset > 0 {
            self.channels.at(channel).last = Some(offset);
        }
        self.stage(channel, What::Publication { offset, block });
    }

    pub(in crate::edge) fn stage_membership(
        &mut self,
        channel: u32,
        who: Box<Member>,
        joined: bool,
    ) {
        self.stage(channel, What::Membership { who, joined });
    }

    fn stage(&mut self, channel: u32, what: What) {
        let known = self.channels.at(channel);
        let bytes = what.size() * known.variants_in_use();
        // Asking filters is charged when they are asked.
        let marks_ns = known.subscribers.len() * cost::MARK;
        self.work.charge(marks_ns + bytes / cost::RESPONSE_BYTES_PER_NS);
        self.staging.add(channel, known.is_filtered(), what, bytes);
    }

    /// Bytes of the arena that it will take: each variant of its subscribers is a frame of its own.
    fn arena_bytes_of(&self, staged: &Staged) -> usize {
        let known = self.channels.get(staged.channel);
        staged.what.size() * known.map_or(0, EdgeChannel::variants_in_use)
    }

    /// Frames and marks all that was staged, channel by channel.
    pub fn mark_staged(&mut self) {
        self.mark_as_far_as(|_, _| true);
    }

    /// The same, as far as asking filters goes within a turn. What is left stays staged, and what
    /// comes later for its channel is marked after it.
    pub fn mark_within_turn(&mut self) {
        self.mark_as_far_as(Edge::are_filters_asked);
    }

    fn mark_as_far_as(&mut self, may_mark: impl FnMut(&mut Edge, &Staged) -> bool) {
        if self.staging.is_empty() {
            return;
        }
        let has_filtered = self.staging.has_filtered();
        let mut staged = self.staging.take();
        for group in staged.chunk_by(|a, b| a.channel == b.channel) {
            if !has_filtered || !group.iter().any(|it| it.filtered) {
                self.mark_group(group);
            }
        }
        if has_filtered {
            self.mark_filtered(&mut staged, may_mark);
        } else {
            staged.clear();
        }
        let left_bytes = staged.iter().map(|it| self.arena_bytes_of(it)).sum();
        self.staging.put_back(staged, left_bytes);
        while let Some(answer) = self.staging.next_acknowledged() {
            self.answer_published(answer);
        }
    }

    /// Marks what is staged for a channel without filters.
    fn mark_group(&mut self, group: &[Staged]) {
        let large_bytes = self.output.large_bytes();
        // Joins and leaves are not for every subscriber, so each run of one kind is a pass. A frame
        // that is large for the arena goes alone: a burst of small ones is none. So does one that
        // is not for all.
        let alone =
            |staged: &Staged| staged.what.size() > large_bytes || staged.excluded().is_some();
        let same = |a: &Staged, b: &Staged| {
            a.is_publication() == b.is_publication() && !alone(a) && !alone(b)
        };
        for run in group.chunk_by(same) {
            self.mark_run_but_publisher(run);
        }
    }

    /// Marks what is staged for channels with filters, each publication alone, in the order in
    /// which they came, as far as may be. The rest stays in `staged`.
    fn mark_filtered(
        &mut self,
        staged: &mut Vec<Staged>,
        mut may_mark: impl FnMut(&mut Edge, &Staged) -> bool,
    ) {
        let filtered = staged.iter().filter(|it| it.filtered).map(|it| it.channel);
        let channels: Vec<u32> = filtered.collect();
        debug_assert!(channels.is_sorted(), "what is staged comes channel by channel");
        staged.retain(|it| channels.binary_search(&it.channel).is_ok());
        staged.sort_unstable_by_key(|it| it.order);
        let mut marked = 0;
        while let Some(next) = staged.get(marked)
            && may_mark(self, next)
        {
            self.mark_run_but_publisher(&staged[marked..=marked]);
            marked += 1;
        }
        staged.drain(..marked);
    }

    fn mark_run_but_publisher(&mut self, run: &[Staged]) {
        match run[0].excluded() {
            Some(publisher) => self.mark_but_one(run, publisher),
            None => self.mark_run(run),
        }
    }

    /// Asks the filters of a channel about a publication; false: some are left for the next turn.
    fn are_filters_asked(&mut self, staged: &Staged) -> bool {
        let What::Publication { block, .. } = &staged.what else { return true };
        let Some(known) = self.channels.get(staged.channel) else { return true };
        if !std::mem::replace(&mut self.judging.under_way, true) {
            self.filters.begin();
            self.judging.asked = 0;
        }
        while let Some(subscriber) = known.subscribers.get(self.judging.asked) {
            if self.judging.work.is_spent() {
                return false;
            }
            self.judging.asked += 1;
            if subscriber.filter != NO_FILTER {
                let cost_ns = self.filters.judge(subscriber.filter, block.tags());
                self.judging.work.charge(cost_ns);
            }
        }
        true
    }

    /// A run that its publisher is not told: while it is marked, the publisher is not on the list.
    fn mark_but_one(&mut self, run: &[Staged], publisher: ConnectionKey) {
        let channel = run[0].channel;
        let subscriber = self.of(publisher).filter(|conn| {
            let subscription = self.at(*conn).subscription(channel);
            subscription.is_some_and(|it| it.state == SubscriptionState::Active)
        });
        let Some(conn) = subscriber else { return self.mark_run(run) };
        let mut aside = self.set_aside(conn, channel);
        self.mark_run(run);
        if aside.variant.form() == Form::Delta {
            // It does not have what the next delta will be against.
            aside.variant = aside.variant.in_form(Form::Fresh);
        }
        self.put_back(conn, channel, aside);
    }

    fn mark_run(&mut self, run: &[Staged]) {
        let channel = run[0].channel;
        // What was asked about the first with filters is not about one that goes past it.
        let asked = run[0].filtered && std::mem::take(&mut self.judging.under_way);
        // The last subscriber may have left since it was staged.
        let known = self.channels.get(channel).filter(|known| !known.subscribers.is_empty());
        let Some(known) = known else { return };
        let ranges = frame_run(&mut self.output, &self.ids, channel, known, run);
        let all = run[0].is_publication();
        if run[0].filtered && !asked {
            self.filters.begin();
        }
        if run.len() == 1 && self.output.is_too_large(ranges.longest_bytes as usize) {
            self.spill_run(channel, &ranges, &run[0]);
        } else {
            self.mark_ranges(channel, &ranges, run);
        }
        if all && self.channels.get(channel).is_some() {
            self.channels.at(channel).settle_fresh();
        }
    }

    fn mark_ranges(&mut self, channel: u32, ranges: &Ranges, run: &[Staged]) {
        sabotage!(WholePass => return self.mark_and_remove(channel, ranges, run));
        let Some(known) = self.channels.get(channel) else { return };
        let marked = mark_pass(&mut self.output, &mut self.filters, known, ranges, run);
        let frames = run.len() as u64;
        self.metrics.deliveries.add(marked * frames);
        self.metrics.namespace(known.namespace).deliveries.add(marked * frames);
        self.metrics.messages_out.add(marked * frames);
    }

    /// A run that is large for the arena goes straight to backlogs, and the arena is given back.
    fn spill_run(&mut self, channel: u32, ranges: &Ranges, staged: &Staged) {
        let Some(known) = self.channels.get(channel) else { return };
        let filters = &mut self.filters;
        let to: Vec<(u32, Range)> = known
            .subscribers
            .iter()
            .filter(|subscriber| staged.is_for(subscriber, filters))
            .map(|subscriber| (subscriber.connection, ranges.of(subscriber.variant)))
            .collect();
        self.metrics.deliveries.add(to.len() as u64);
        self.metrics.namespace(known.namespace).deliveries.add(to.len() as u64);
        self.metrics.messages_out.add(to.len() as u64);
        for (index, range) in to {
            self.output_to_backlog(index, range);
        }
        for range in ranges.by_variant.iter().rev() {
            self.output.give_back(*range);
        }
    }
}

/// Frames a run for every variant that a channel's subscribers have.
fn frame_run(
    output: &mut Output,
    ids: &ClientIds,
    channel: u32,
    known: &EdgeChannel,
    run: &[Staged],
) -> Ranges {
    let mut ranges = Ranges::new();
    for variant in known.variants() {
        let start = output.end();
        let named = match variant.is_numbered() {
            true => Named::Number(number_of(channel)),
            false => Named::Name(known.name.as_str()),
        };
        let to = (channel, named);
        let (codec, mut form) = (variant.codec(), variant.form());
        for staged in run {
            match &staged.what {
                What::Publication { offset, block } => {
                    let offset = if known.keeps_history { *offset } else { 0 };
                    let id = publisher_id(block);
                    let publication = formed(block, offset, id.as_ref(), codec, form);
                    output.publication(codec, to, &publication);
                    if form == Form::Fresh {
                        form = Form::Delta;
                    }
                }
                What::Membership { who, joined } => {
                    output.membership(codec, to, info(who, ids), *joined);
                }
            }
        }
        ranges.set(variant, Range { start, end: output.end() });
    }
    ranges
}

/// Gives each subscriber that a run is for the range of its variant; how many those are.
fn mark_pass(
    output: &mut Output,
    filters: &mut ChargedFilters,
    known: &EdgeChannel,
    ranges: &Ranges,
    run: &[Staged],
) -> u64 {
    if run[0].is_publication()
        && let Some(variant) = known.only_variant()
    {
        let range = ranges.of(variant);
        for subscriber in &known.subscribers {
            output.mark(subscriber.connection, range);
        }
        return known.subscribers.len() as u64;
    }
    let mut marked = 0;
    for subscriber in &known.subscribers {
        if run[0].is_for(subscriber, filters) {
            output.mark(subscriber.connection, ranges.of(subscriber.variant));
            marked += 1;
        }
    }
    marked
}
