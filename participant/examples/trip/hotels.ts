// Rooms of hotels, in TypeScript with Express and a PostgreSQL, which PGHOST, PGPORT, PGUSER name: node hotels.js PORT
import express from "express";
import pg from "pg";
import { Refusal } from "undoubt/barrier";
import { effect } from "undoubt/express";
import { pgBarrier } from "undoubt/pg";

const pool = new pg.Pool();
// A connection that breaks while nobody uses it is replaced.
pool.on("error", () => undefined);
const barrier = pgBarrier(pool);
await barrier.createTable();
await pool.query("CREATE TABLE IF NOT EXISTS rooms (room text PRIMARY KEY, effect text, transaction_id text)");

const rooms = effect(barrier, {
  action: async (db, request, call) => {
    const { room } = request.body;
    const taken = await db.query("INSERT INTO rooms VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", [
      room,
      call.effect,
      call.transaction,
    ]);
    if (taken.rowCount === 0) throw new Refusal(`room ${room} is taken`);
    return { price: 80 };
  },
  compensation: async (db, request, call) => {
    await db.query("DELETE FROM rooms WHERE effect = $1", [call.effect]);
  },
});

express()
  .post("/rooms", express.json(), rooms)
  .get("/rooms", async (request, response) => {
    const { rows } = await pool.query("SELECT room, transaction_id FROM rooms ORDER BY room");
    response.json(Object.fromEntries(rows.map((row) => [row.room, row.transaction_id])));
  })
  .listen(Number(process.argv[2]), "127.0.0.1");
