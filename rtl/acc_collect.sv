// The rows of a linear layer from all channels, in order: row block b comes from channel b mod Channels in 16 beats of
// four rows. Every channel brings as many blocks; those beyond blocks_i are dropped. After the last one comes the first
// of the next layer; blocks_i changes in between only.
`default_nettype none
module acc_collect #(
  parameter int unsigned Channels = 1, // a power of two
  parameter int unsigned Slices = 1    // registers on the way from each channel
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  logic [15:0]             blocks_i,    // at least 1
  input  logic [Channels-1:0]     in_valid_i,
  output logic [Channels-1:0]     in_ready_o,
  input  logic [Channels*128-1:0] in_data_i,
  output logic                    out_valid_o,
  input  logic                    out_ready_i,
  output logic [127:0]            out_data_o,
  output logic [15:0]             out_block_o,
  output logic [3:0]              out_beat_o,
  output logic                    done_o       // with the last beat of the last channel
);
  localparam int unsigned TurnW = Channels == 1 ? 1 : $clog2(Channels);
  logic [Channels-1:0]     valid, ready;
  logic [Channels*128-1:0] data;
  for (genvar c = 0; c < Channels; c++) begin : gen_channel
    acc_slices #(.Width(128), .Slices(Slices)) u_slices (.clk_i, .rst_ni, .in_valid_i(in_valid_i[c]),
                                                         .in_ready_o(in_ready_o[c]), .in_data_i(in_data_i[c*128 +: 128]),
                                                         .out_valid_o(valid[c]), .out_ready_i(ready[c]),
                                                         .out_data_o(data[c*128 +: 128]));
    assign ready[c] = turn == TurnW'(c) && (out_ready_i || drop);
  end

  logic [16:0]      block_q;
  logic [3:0]       beat_q;
  logic [TurnW-1:0] turn;
  logic             drop, taken;
  assign turn        = Channels == 1 ? '0 : block_q[TurnW-1:0];
  assign drop        = block_q >= {1'b0, blocks_i};
  assign taken       = valid[turn] && (out_ready_i || drop);
  assign out_valid_o = valid[turn] && !drop;
  assign out_data_o  = data[turn*128 +: 128];
  assign out_block_o = block_q[15:0];
  assign out_beat_o  = beat_q;
  assign done_o      = taken && beat_q == 4'd15 && turn == TurnW'(Channels - 1) && block_q + 17'd1 >= {1'b0, blocks_i};

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      block_q <= '0;
      beat_q  <= '0;
    end else if (taken) begin
      beat_q <= beat_q + 4'd1;
      if (beat_q == 4'd15) block_q <= done_o ? 17'd0 : block_q + 17'd1;
    end
  end
endmodule
`default_nettype wire
