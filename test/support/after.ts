/** Runs after all tests. */
import { readFileSync } from 'node:fs';
import { shared } from './shared.ts';

process.kill(JSON.parse(readFileSync(shared, 'utf8')).pid, 'SIGTERM');
