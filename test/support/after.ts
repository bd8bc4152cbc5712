/** Runs after all tests: stops the PostgreSQL server that they shared. */
import { readFileSync } from 'node:fs';
import { shared } from './shared.ts';

process.kill(JSON.parse(readFileSync(shared, 'utf8')).pid, 'SIGTERM');
