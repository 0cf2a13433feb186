// A service in Node that charges, and fails or dawdles when it is told to.
//
// POST /mood       {"fail": true, "slow_ms": 1000}
// GET /charges/ID  charges; says how many charges it has seen.
"use strict";

const http = require("node:http");

let mood = {};
let seen = 0;

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    if (request.method === "POST") {
      mood = JSON.parse(Buffer.concat(parts).toString());
      return response.end(JSON.stringify({ seen }));
    }
    seen += 1;
    setTimeout(() => {
      response.statusCode = mood.fail ? 500 : 200;
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ seen, left: request.headers["x-fuseboard-timeout"] ?? null }));
    }, mood.slow_ms ?? 0);
  });
});

server.listen(0, "127.0.0.1", () => console.log(server.address().port));
