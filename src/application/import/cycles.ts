import type { CustomerUrn } from '../../domain/identity.ts';
import { type DeferredRow, holdersOf } from './deferred.ts';

/** A customer in the search for cycles. */
interface Visit {
  readonly urn: CustomerUrn;
  readonly order: number;
  /** The lowest order of a customer that it waits for, directly or not, and that belongs to no group yet. */
  lowest: number;
  readonly holders: CustomerUrn[];
}

/** The deferred row of a customer; undefined if it has none. */
type RowOf = (urn: CustomerUrn) => DeferredRow | undefined;

/**
 * The cycles: groups of customers each of which waits for values of others in the group, and for no other values. A group
 * can be applied as an exchange. Customers that only wait for a cycle do not belong to it.
 *
 * @param starts where to search: only customers for which these rows wait, directly or not, are found
 */
export function cyclesOf(starts: readonly DeferredRow[], rowOf: RowOf): DeferredRow[][] {
  const urns = starts.flatMap(({ urn }) => (urn === undefined ? [] : [urn]));
  return groupsOf(urns, rowOf)
    .map((group) => group.map((urn) => rowOf(urn) as DeferredRow))
    .filter((group) => {
      const members = new Set(group.map(({ urn }) => urn));
      return group.length > 1 && group.every((row) => holdersOf(row).every((holder) => members.has(holder)));
    });
}

/** The strongly connected components (Tarjan's algorithm, without recursion: a chain can be thousands of rows long). */
function groupsOf(starts: readonly CustomerUrn[], rowOf: RowOf): CustomerUrn[][] {
  const visits = new Map<CustomerUrn, Visit>();
  const groups: CustomerUrn[][] = [];
  /** The visited customers that belong to no group yet. */
  const open: CustomerUrn[] = [];
  const isOpen = new Set<CustomerUrn>();
  /** From the start of the search to the current customer. */
  const path: Visit[] = [];
  const enter = (urn: CustomerUrn): void => {
    const holders = holdersOf(rowOf(urn) as DeferredRow).filter((holder) => rowOf(holder) !== undefined);
    const visit = { urn, order: visits.size, lowest: visits.size, holders };
    visits.set(urn, visit);
    path.push(visit);
    open.push(urn);
    isOpen.add(urn);
  };
  const leave = ({ urn, order, lowest }: Visit): void => {
    path.pop();
    const before = path.at(-1);
    if (before !== undefined) before.lowest = Math.min(before.lowest, lowest);
    if (lowest < order) return;
    const group = open.splice(open.lastIndexOf(urn));
    for (const member of group) isOpen.delete(member);
    groups.push(group);
  };
  for (const start of starts) {
    if (!visits.has(start)) enter(start);
    for (let visit = path.at(-1); visit !== undefined; visit = path.at(-1)) {
      const holder = visit.holders.pop();
      const seen = holder && visits.get(holder);
      if (holder === undefined) leave(visit);
      else if (seen === undefined) enter(holder);
      else if (isOpen.has(holder)) visit.lowest = Math.min(visit.lowest, seen.order);
    }
  }
  return groups;
}
