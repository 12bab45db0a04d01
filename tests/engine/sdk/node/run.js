// The runner of the vendor's Node SDK: see ../README.md.
'use strict';

const readline = require('readline');
const { imageSearch } = require('baidu-aip-sdk');

const client = new imageSearch('1', process.env.API_KEY, process.env.SECRET_KEY);

async function call(asked) {
  const options = { ...asked.options };
  if (asked.brief !== undefined) options.brief = asked.brief;
  return client[asked.call](asked.image === undefined ? asked.text : asked.image, options);
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let told;
    try {
      told = { answer: await call(JSON.parse(line)) };
    } catch (error) {
      told = { raised: String(error && error.error ? JSON.stringify(error) : error) };
    }
    console.log(JSON.stringify(told));
  }
}

main();
