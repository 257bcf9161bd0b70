set -e
node build.js
node --test
