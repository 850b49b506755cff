// The sequencer's front: reads the program from line 0 of its channel on, four instructions a line, checks each
// (acc_inst_bad() of the library), unrolls loops and adds their strides to addresses. Instructions leave in order with
// their place and round; LOOP and END stay here. A line is read when an instruction of it is next; the last one is kept.
`default_nettype none
module acc_fetch #(
  parameter int unsigned Lines = acc_pkg::ChannelLines
) (
  input  logic            clk_i,
  input  logic            rst_ni,
  input  logic            run_i,      // low: back to the program's beginning
  input  logic            logits_i,   // low: the conditional END ends the program, too
  output logic            rq_valid_o,
  input  logic            rq_ready_i,
  output logic [23:0]     rq_line_o,
  output logic [15:0]     rq_count_o,
  input  logic            rd_valid_i,
  output logic            rd_ready_o,
  input  logic [511:0]    rd_data_i,
  output logic            valid_o,
  input  logic            ready_i,
  output logic [127:0]    inst_o,
  output logic [12:0]     pc_o,
  output logic [15:0]     round_o,    // of its loop; 0 outside
  output logic            ended_o,    // END was met, or
  output acc_pkg::error_e error_o     // the instruction at pc_o was refused
);
  localparam int unsigned Limit = Lines < acc_pkg::ProgramMax / 4 ? 4 * Lines : acc_pkg::ProgramMax;

  // The line that holds the instruction at pc.
  logic [511:0] line_q;
  logic [9:0]   tag_q;
  logic         here_q, asked_q, present, beyond, got_q;
  logic [127:0] inst_q;
  assign beyond     = pc_o >= 13'(Limit);
  assign present    = here_q && tag_q == pc_o[11:2];
  assign rq_valid_o = run_i && !ended_o && !got_q && !present && !asked_q && !beyond;
  assign rq_line_o  = 24'(pc_o[11:2]);
  assign rq_count_o = 16'd1;
  assign rd_ready_o = 1'b1;
  always_ff @(posedge clk_i) begin
    if (rd_valid_i) line_q <= rd_data_i;
    if (rd_valid_i) tag_q <= pc_o[11:2];
    if (!rst_ni || !run_i) {here_q, asked_q} <= 2'b00;
    else begin
      if (rq_valid_o && rq_ready_i) asked_q <= 1'b1;
      else if (rd_valid_i) asked_q <= 1'b0;
      if (rd_valid_i) here_q <= 1'b1;
    end
  end

  // What is wrong with it.
  logic            in_loop_q, empty, unknown;
  logic [3:0]      op;
  logic [2:0]      masks;
  logic [1:0]      queue;
  acc_pkg::error_e error;
  assign op    = inst_q[127:124];
  assign masks = inst_q[123:121] | inst_q[120:118];
  assign queue = acc_pkg::queue_of(inst_q);
  always_comb begin
    empty   = 1'b0;
    unknown = 1'b0;
    case (op)
      acc_pkg::OpMm: begin
        empty   = inst_q[acc_pkg::MmBlocksLsb +: acc_pkg::MmBlocksW] == '0 ||
                  inst_q[acc_pkg::MmGroupsLsb +: acc_pkg::MmGroupsW] == '0 ||
                  inst_q[acc_pkg::MmStepLsb +: acc_pkg::MmStepW] == '0;
        unknown = inst_q[acc_pkg::MmLevelsLsb +: acc_pkg::MmLevelsW] == 2'd3 ||
                  inst_q[acc_pkg::MmGroupLsb +: acc_pkg::MmGroupW] == 2'd3 ||
                  inst_q[acc_pkg::MmTargetLsb +: acc_pkg::MmTargetW] == 2'd3;
      end
      acc_pkg::OpVec: begin
        empty   = inst_q[acc_pkg::VecNLsb +: acc_pkg::VecNW] == '0;
        unknown = inst_q[acc_pkg::VecOpLsb +: acc_pkg::VecOpW] == 2'd3;
      end
      acc_pkg::OpMov: begin
        empty   = inst_q[acc_pkg::MovNLsb +: acc_pkg::MovNW] == '0;
        unknown = inst_q[acc_pkg::MovGroupLsb +: acc_pkg::MovGroupW] == 2'd3;
      end
      acc_pkg::OpTop: empty = inst_q[acc_pkg::TopNLsb +: acc_pkg::TopNW] == '0;
      acc_pkg::OpLoop: empty = inst_q[acc_pkg::LoopLengthLsb +: acc_pkg::LoopLengthW] == '0 ||
                               inst_q[acc_pkg::LoopRoundsLsb +: acc_pkg::LoopRoundsW] == '0;
      default: begin end
    endcase
    error = acc_pkg::ErrorNone;
    if (beyond || op > acc_pkg::OpEnd) error = acc_pkg::ErrorBadOpcode;
    else if (acc_pkg::spare_bits(inst_q) || empty || unknown) error = acc_pkg::ErrorBadField;
    else if (queue == 2'd3 ? masks != '0 || in_loop_q : masks[queue]) error = acc_pkg::ErrorBadField;
  end

  // Where it goes, and what comes after it.
  logic [12:0] first_q, last_q;  // of the loop
  logic [15:0] rounds_q;
  logic [23:0] weights_q, cache_q, trace_q, weights_step_q, cache_step_q, trace_step_q;
  logic        leaves, ends, turns;
  assign valid_o = got_q && error == acc_pkg::ErrorNone && queue != 2'd3;
  assign inst_o  = acc_pkg::at_round(inst_q, weights_q, cache_q, trace_q);
  assign leaves  = valid_o && ready_i;
  assign turns   = in_loop_q && pc_o == last_q;
  assign ends    = op == acc_pkg::OpEnd && (!logits_i || inst_q[acc_pkg::EndWhenLsb] == acc_pkg::WhenAlways);
  always_ff @(posedge clk_i) begin
    if (present) inst_q <= line_q[pc_o[1:0]*128 +: 128];
    if (!rst_ni || !run_i) begin
      pc_o      <= '0;
      round_o   <= '0;
      got_q     <= 1'b0;
      in_loop_q <= 1'b0;
      ended_o   <= 1'b0;
      error_o   <= acc_pkg::ErrorNone;
      {weights_q, cache_q, trace_q} <= '0;
    end else if (!got_q) begin
      got_q <= !ended_o && (present || beyond);
    end else if (error != acc_pkg::ErrorNone) begin
      {got_q, ended_o} <= 2'b01;
      error_o          <= error;
    end else if (leaves) begin
      got_q <= 1'b0;
      pc_o  <= pc_o + 13'd1;
      if (turns && round_o != rounds_q - 16'd1) begin
        pc_o      <= first_q;
        round_o   <= round_o + 16'd1;
        weights_q <= weights_q + weights_step_q;
        cache_q   <= cache_q + cache_step_q;
        trace_q   <= trace_q + trace_step_q;
      end else if (turns) begin
        in_loop_q <= 1'b0;
        round_o   <= '0;
        {weights_q, cache_q, trace_q} <= '0;
      end
    end else if (!valid_o) begin  // LOOP or END
      got_q   <= 1'b0;
      pc_o    <= pc_o + 13'd1;
      ended_o <= ends;
      if (op == acc_pkg::OpLoop) begin
        in_loop_q      <= 1'b1;
        first_q        <= pc_o + 13'd1;
        last_q         <= pc_o + 13'(inst_q[acc_pkg::LoopLengthLsb +: acc_pkg::LoopLengthW]);
        rounds_q       <= inst_q[acc_pkg::LoopRoundsLsb +: acc_pkg::LoopRoundsW];
        weights_step_q <= inst_q[acc_pkg::LoopWeightsLsb +: acc_pkg::LoopWeightsW];
        cache_step_q   <= inst_q[acc_pkg::LoopCacheLsb +: acc_pkg::LoopCacheW];
        trace_step_q   <= inst_q[acc_pkg::LoopTraceLsb +: acc_pkg::LoopTraceW];
      end
    end
  end
endmodule
`default_nettype wire
