/** Prints the results as a table, one line for each load. */
import { verdictsOf } from './goals.ts';
import type { Row } from './measuring.ts';

const fixed = (value: number | undefined, digits = 0): string => value?.toFixed(digits) ?? '-';

/** The columns, in order: head, width, and the cell of a row. */
const columns: readonly (readonly [head: string, width: number, cell: (row: Row) => string])[] = [
  ['storage', 8, ({ storage }) => storage],
  ['customers', 10, ({ customers }) => String(customers)],
  ['load', 14, ({ load }) => load],
  ['conns', 6, ({ connections }) => String(connections)],
  ['service/s', 10, ({ figures }) => fixed(figures.service.rate)],
  ['bare/s', 8, ({ figures }) => fixed(figures.bare?.rate)],
  ['limit/s', 8, ({ figures }) => fixed(figures.limit?.rate)],
  ['plain/s', 8, ({ figures }) => fixed(figures.plain?.rate)],
  ['÷bare', 6, ({ ratios }) => fixed(ratios.bare, 2)],
  ['÷limit', 7, ({ ratios }) => fixed(ratios.limit, 2)],
  ['÷plain', 7, ({ ratios }) => fixed(ratios.plain, 2)],
  ['p50', 6, ({ figures }) => fixed(figures.service.p50, 1)],
  ['p99', 6, ({ figures }) => fixed(figures.service.p99, 1)],
  ['limit-p99', 10, ({ figures }) => fixed(figures.limit?.p99, 1)],
  ['plain-p99', 10, ({ figures }) => fixed(figures.plain?.p99, 1)],
  ['MB', 5, ({ residentMb }) => fixed(residentMb)],
  ['commits/s', 10, ({ commitsPerSecond }) => fixed(commitsPerSecond)],
  ['batch', 6, ({ meanBatch }) => fixed(meanBatch, 1)],
  ['goals', 0, (row) => goalsOf(row)],
];
const line = (cells: readonly string[]) =>
  cells
    .map((cell, index) => cell.padEnd(columns[index]?.[1] ?? 0))
    .join(' ')
    .trimEnd();

function goalsOf(row: Row): string {
  const verdicts = verdictsOf(row).map(({ goal, isMet }) => `${isMet ? 'met' : 'MISSED'}: ${goal}`);
  const failures = Object.entries(row.figures)
    .filter(([, { refused, broken }]) => refused + broken > 0)
    .map(([side, { refused, broken }]) => `${side}: ${refused} refused, ${broken} broken`);
  return [...verdicts, ...failures].join('; ');
}

export function printHead(): void {
  console.log('Requests a second of the service and its rivals, ÷ a ratio to a rival, p50 and p99 in milliseconds.');
  console.log(line(columns.map(([head]) => head)));
}

export function printRow(row: Row): void {
  console.log(line(columns.map(([, , cell]) => cell(row))));
}
