// The sequencer (src/accel/sequencer.h): instructions wait in three queues that work in order each and for each other by
// semaphores. An instruction is offered when every queue of its wait mask has signalled it; it stays at its queue's head
// until its unit is done, then uses up what it waited for and signals.
//
// The first error ends the run: of a unit with its done pulse, of a memory port (then at the oldest instruction under way),
// an instruction that is refused once all before it have ended (at it), a semaphore beyond its most (BAD_FIELD), or no
// instruction that could go on (DEADLOCK, at the oldest). Then flush_o resets the units and has the memory ports drop what
// they were asked for; done_o comes when these are idle, or at once where one of them is wedged. A start before such a port
// is idle ends in TIMEOUT.
`default_nettype none
module acc_seq #(
  parameter int unsigned Channels = 1,
  parameter int unsigned Lines = acc_pkg::ChannelLines,
  parameter int unsigned FlushCycles = 8   // at least; the units' reset may be pipelined
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  logic                    start_i,           // a pulse, not during a run
  output logic                    done_o,            // a pulse
  input  logic                    logits_i,
  input  logic                    geometry_valid_i,  // no instruction of the cache queue begins before,
  input  logic                    geometry_bad_i,    // or where this is set: BAD_FIELD
  // the program
  output logic                    rq_valid_o,
  input  logic                    rq_ready_i,
  output logic [23:0]             rq_line_o,
  output logic [15:0]             rq_count_o,
  input  logic                    rd_valid_i,
  output logic                    rd_ready_o,
  input  logic [511:0]            rd_data_i,
  // the units, a queue each
  output logic [2:0]              cmd_valid_o,
  input  logic [2:0]              cmd_ready_i,
  output logic [3*128-1:0]        cmd_o,
  input  logic [2:0]              done_i,            // a pulse, after the command was taken
  input  logic [3*4-1:0]          error_i,           // with it
  input  logic [3*5-1:0]          error_channel_i,
  // the memory ports: 2c reads of channel c, 2c + 1 its writes
  input  logic [Channels*8-1:0]   port_error_i,
  input  logic [Channels*2-1:0]   port_idle_i,
  input  logic [Channels*2-1:0]   port_wedged_i,
  output logic                    flush_o,
  // the first error of the run, until the next start
  output logic [3:0]              error_o,
  output logic [12:0]             error_at_o,
  output logic [15:0]             error_round_o,
  output logic [4:0]              error_channel_o
);
  localparam int unsigned FlushW = $clog2(FlushCycles + 1), NumberW = 24;  // of fetching, to tell what is older
  localparam int unsigned EntryW = NumberW + 16 + 13 + 128;
  typedef enum logic [1:0] {Idle = 2'd0, Run = 2'd1, Stop = 2'd2} state_e;
  state_e state_q;

  logic            fetched, fetched_ready, ended;
  logic [127:0]    inst;
  logic [12:0]     pc;
  logic [15:0]     round;
  acc_pkg::error_e refused;
  acc_fetch #(.Lines(Lines)) u_fetch (.clk_i, .rst_ni, .run_i(state_q == Run), .logits_i, .rq_valid_o, .rq_ready_i,
                                      .rq_line_o, .rq_count_o, .rd_valid_i, .rd_ready_o, .rd_data_i, .valid_o(fetched),
                                      .ready_i(fetched_ready), .inst_o(inst), .pc_o(pc), .round_o(round),
                                      .ended_o(ended), .error_o(refused));

  // Queues.
  logic [2:0]          room, waiting, ready, running_q, taken, retired, overflow;
  logic [3*EntryW-1:0] head;
  logic [NumberW-1:0]  number_q;
  logic [3*13-1:0]     head_pc;
  logic [3*16-1:0]     head_round;
  logic [3*3-1:0]      head_wait, head_signal;
  logic [3*3*3-1:0]    level_q;  // [from * 3 + to]
  assign fetched_ready = room[acc_pkg::queue_of(inst)];
  always_ff @(posedge clk_i) begin
    if (state_q != Run) number_q <= '0;
    else number_q <= number_q + NumberW'(fetched && fetched_ready);
  end

  for (genvar q = 0; q < 3; q++) begin : gen_queue
    logic [2:0] met;
    acc_fifo #(.Width(EntryW), .Depth(acc_pkg::QueueDepth)) u_fifo (
        .clk_i, .rst_ni(rst_ni && state_q == Run), .in_valid_i(fetched && acc_pkg::queue_of(inst) == 2'(q)),
        .in_ready_o(room[q]), .in_data_i({number_q, round, pc, inst}), .out_valid_o(waiting[q]),
        .out_ready_i(retired[q]), .out_data_o(head[q*EntryW +: EntryW]));
    assign cmd_o[q*128 +: 128]   = head[q*EntryW +: 128];
    assign head_pc[q*13 +: 13]   = head[q*EntryW + 128 +: 13];
    assign head_round[q*16 +: 16] = head[q*EntryW + 141 +: 16];
    assign head_wait[q*3 +: 3]   = head[q*EntryW + 121 +: 3];
    assign head_signal[q*3 +: 3] = head[q*EntryW + 118 +: 3];
    for (genvar from = 0; from < 3; from++) begin : gen_wait
      assign met[from] = !head_wait[q*3 + from] || level_q[(from*3 + q)*3 +: 3] != '0;
    end
    assign ready[q]   = waiting[q] && !running_q[q] && met == 3'b111;
    assign taken[q]   = cmd_valid_o[q] && cmd_ready_i[q];
    assign retired[q] = running_q[q] && done_i[q] && error_i[q*4 +: 4] == acc_pkg::ErrorNone;
  end
  for (genvar from = 0; from < 3; from++) begin : gen_from
    logic [2:0] over;
    for (genvar to = 0; to < 3; to++) begin : gen_to
      logic up, down;
      assign up       = retired[from] && head_signal[from*3 + to];
      assign down     = retired[to] && head_wait[to*3 + from];
      assign over[to] = up && !down && level_q[(from*3 + to)*3 +: 3] == 3'(acc_pkg::SemaphoreMax);
      always_ff @(posedge clk_i) begin
        if (state_q != Run) level_q[(from*3 + to)*3 +: 3] <= '0;
        else level_q[(from*3 + to)*3 +: 3] <= level_q[(from*3 + to)*3 +: 3] + 3'(up) - 3'(down);
      end
    end
    assign overflow[from] = over != '0;
  end
  logic geometry_bad;
  assign geometry_bad = ready[acc_pkg::QueueCache] && geometry_valid_i && geometry_bad_i;
  assign cmd_valid_o  = ready & {3{state_q == Run}} & {1'b1, geometry_valid_i && !geometry_bad_i, 1'b1};
  always_ff @(posedge clk_i) begin
    if (!rst_ni || state_q != Run) running_q <= '0;
    else running_q <= (running_q | taken) & ~done_i;
  end

  // Of some queues the one whose head was fetched first.
  logic [2:0] older;  // 0 than 1, 0 than 2, 1 than 2
  for (genvar k = 0; k < 3; k++) begin : gen_older
    localparam int unsigned A = k == 2 ? 1 : 0, B = k == 0 ? 1 : 2;
    logic [NumberW-1:0] apart;
    assign apart    = head[B*EntryW + EntryW - NumberW +: NumberW] - head[A*EntryW + EntryW - NumberW +: NumberW];
    assign older[k] = !apart[NumberW-1];
  end
  function automatic logic [1:0] oldest(input logic [2:0] among, input logic [2:0] earlier);
    if (among[0] && (!among[1] || earlier[0]) && (!among[2] || earlier[1])) oldest = 2'd0;
    else if (among[1] && (!among[2] || earlier[2])) oldest = 2'd1;
    else oldest = 2'd2;
  endfunction

  // What goes wrong in this cycle; what comes last below counts.
  logic [3:0]      error;       // acc_pkg::error_e
  logic [1:0]      queue;       // whose head it is at,
  logic            at_fetch;    // or where fetching stands
  logic [4:0]      channel;
  logic [2:0]      failed;
  always_comb begin
    for (int q = 0; q < 3; q++)
      failed[q] = running_q[q] && done_i[q] && error_i[q*4 +: 4] != acc_pkg::ErrorNone;
    error    = acc_pkg::ErrorNone;
    queue    = oldest(waiting, older);
    at_fetch = 1'b0;
    channel  = '0;
    if (ended && waiting == '0) begin
      error    = refused;
      at_fetch = 1'b1;
    end else if (running_q == '0 && ready == '0 && waiting != '0 && (ended || (fetched && !fetched_ready))) begin
      error = acc_pkg::ErrorDeadlock;
    end
    if (geometry_bad) begin
      error = acc_pkg::ErrorBadField;
      queue = acc_pkg::QueueCache;
    end
    for (int q = 0; q < 3; q++) if (overflow[q]) begin
      error = acc_pkg::ErrorBadField;
      queue = 2'(q);
    end
    for (int q = 0; q < 3; q++) if (failed[q]) begin
      error   = error_i[q*4 +: 4];
      queue   = 2'(q);
      channel = error_channel_i[q*5 +: 5];
    end
    for (int unsigned p = 0; p < 2 * Channels; p++) if (port_error_i[p*4 +: 4] != acc_pkg::ErrorNone) begin
      error    = port_error_i[p*4 +: 4];
      queue    = oldest(running_q, older);
      at_fetch = running_q == '0;
      channel  = 5'(p / 2);
    end
  end

  // The run.
  logic [FlushW-1:0] flush_q;  // cycles that are left
  logic              calm, over;
  assign calm   = flush_q == '0 && (&port_idle_i);
  assign over   = state_q == Run && ended && waiting == '0 && error == acc_pkg::ErrorNone;
  assign done_o = over || (state_q == Stop && (calm || (flush_q == '0 && port_wedged_i != '0)));
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Idle;
      flush_o <= 1'b0;
      flush_q <= '0;
      error_o <= acc_pkg::ErrorNone;
      {error_at_o, error_round_o, error_channel_o} <= '0;
    end else begin
      if (flush_q != '0) flush_q <= flush_q - 1'b1;
      else if (calm) flush_o <= 1'b0;
      if (done_o) state_q <= Idle;
      if (state_q == Idle && start_i) begin
        state_q <= flush_o && !calm ? Stop : Run;
        error_o <= flush_o && !calm ? acc_pkg::ErrorTimeout : acc_pkg::ErrorNone;
        {error_at_o, error_round_o, error_channel_o} <= '0;
      end else if (state_q == Run && error != acc_pkg::ErrorNone) begin
        state_q         <= Stop;
        flush_o         <= 1'b1;
        flush_q         <= FlushW'(FlushCycles);
        error_o         <= error;
        error_at_o      <= at_fetch ? pc : head_pc[queue*13 +: 13];
        error_round_o   <= at_fetch ? round : head_round[queue*16 +: 16];
        error_channel_o <= channel;
      end
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni) state_q == Run && !flush_o |-> (done_i & ~running_q) == '0);
  assert property (@(posedge clk_i) disable iff (!rst_ni) start_i |-> state_q == Idle);
`endif
endmodule
`default_nettype wire
