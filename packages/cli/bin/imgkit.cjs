#!/usr/bin/env node
// A file of its own, so that a package manager can link the command before the build has made dist/.
require("../dist/imgkit.cjs");
