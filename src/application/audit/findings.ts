/** What an audit finds in the change events, their checkpoints and what belongs to them. */
import type { CustomerUrn, TenantId } from '../../domain/identity.ts';

/** A difference between the events and the checkpoints. */
export interface EventDifference {
  readonly kind:
    | 'event_changed'
    | 'event_removed'
    | 'event_inserted'
    | 'event_reordered' // `count` events from `position` on, which were at `was` and the following positions
    | 'position_gap' // `count` positions without an event, from `position` on
    | 'more_events_differ'; // from `position` on, differences are not named
  readonly position: number;
  readonly was?: number;
  readonly count?: number;
  /** The customer and the version of the event that is at the position now. */
  readonly customerUrn?: CustomerUrn;
  readonly version?: number;
}

export interface EventFinding {
  readonly kind:
    | EventDifference['kind']
    | 'unreadable_events' // the check ended at a value that no program has stored
    | 'feed_end_mismatch' // an event is at `position`, after the end of the feed
    | 'broken_checkpoint' // it was changed, or its signature is not of this deployment; its events are not checked
    | 'checkpoint_missing'
    | 'broken_checkpoint_link' // it does not continue the checkpoint before
    | 'checkpoint_witness_mismatch' // a checkpoint that was recorded elsewhere is not there, or is another one
    | 'checkpoint_erasure_mismatch' // the erasure log lacks the entry that was its last one then
    | 'event_without_position' // the feed lacks events of a customer
    | 'version_gap' // events of a customer are missing
    | 'record_differs_from_events' // a record is missing, or is not that of its last event
    | 'event_without_entry' // the erasure log lacks the entry of an erasure or a merge
    | 'entry_without_event'; // the last event of a customer in the erasure log is not that of its erasure
  readonly tenant: TenantId;
  /** The sequence of the checkpoint. */
  readonly checkpoint?: number;
  /** The sequence of the entry in the erasure log. */
  readonly sequence?: number;
  readonly position?: number;
  readonly was?: number;
  readonly count?: number;
  readonly customerUrn?: CustomerUrn;
  readonly version?: number;
}
