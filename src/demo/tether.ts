// Loaded into every process that the demo starts, before its own module: it ends with the demo, even if that is killed.

process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'));
