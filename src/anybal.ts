#!/usr/bin/env node
// What is executed. A signal that nobody listens for kills, and to read all of the program takes half a second, in which somebody
// may ask for a reload already: so this listens first, and main.ts comes after.

for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) process.on(signal, () => {});
await import('./main.ts');
