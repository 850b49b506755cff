// The range of a head's vector: the largest of its elements and of its negative ones as magnitudes of 31 bits (0: there is
// none), and whether all are finite. A word a cycle, then 4 cycles over the lanes.
`default_nettype none
module acc_head_range (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         start_i,
  input  logic [8:0]   n_i,
  output logic         busy_o,
  output logic [3:0]   word_o,   // acc_head_turn
  input  logic [511:0] x_i,
  output logic [30:0]  above_o,  // these stand from the end until the next start
  output logic [30:0]  below_o,
  output logic         finite_o
);
  logic [3:0]        word_q;
  logic              reading_q, finite_q;
  logic [2:0]        folds_q;    // still to do
  logic [15:0]       bad;
  logic [16*31-1:0]  above_q, below_q;
  assign word_o   = word_q;
  assign busy_o   = reading_q || folds_q != 3'd0;
  assign above_o  = above_q[30:0];
  assign below_o  = below_q[30:0];
  assign finite_o = finite_q;

  function automatic logic [30:0] larger(input logic [30:0] a, input logic [30:0] b);
    larger = a > b ? a : b;
  endfunction

  for (genvar l = 0; l < 16; l++) begin : gen_lane
    logic [31:0] x;
    logic [30:0] above_pair, below_pair;  // of two lanes: their results move to the lower eight
    assign x      = x_i[l*32 +: 32];
    assign bad[l] = x[30:23] == 8'hff;
    if (l < 8) begin : gen_fold
      assign above_pair = larger(above_q[2*l*31 +: 31], above_q[(2*l + 1)*31 +: 31]);
      assign below_pair = larger(below_q[2*l*31 +: 31], below_q[(2*l + 1)*31 +: 31]);
    end else begin : gen_done
      assign above_pair = '0;
      assign below_pair = '0;
    end
    always_ff @(posedge clk_i) begin
      if (start_i) begin
        above_q[l*31 +: 31] <= '0;
        below_q[l*31 +: 31] <= '0;
      end else if (reading_q) begin
        if (!x[31]) above_q[l*31 +: 31] <= larger(above_q[l*31 +: 31], x[30:0]);
        if (x[31]) below_q[l*31 +: 31] <= larger(below_q[l*31 +: 31], x[30:0]);
      end else if (folds_q != 3'd0) begin
        above_q[l*31 +: 31] <= above_pair;
        below_q[l*31 +: 31] <= below_pair;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      word_q   <= '0;
      finite_q <= 1'b1;
    end else if (reading_q) begin
      word_q   <= word_q + 4'd1;
      finite_q <= finite_q && bad == 16'd0;
    end
    if (!rst_ni) begin
      reading_q <= 1'b0;
      folds_q   <= '0;
    end else if (start_i) begin
      reading_q <= 1'b1;
      folds_q   <= '0;
    end else if (reading_q && word_q == 4'((n_i - 9'd1) >> 4)) begin
      reading_q <= 1'b0;
      folds_q   <= 3'd4;
    end else if (folds_q != 3'd0) begin
      folds_q <= folds_q - 3'd1;
    end
  end
endmodule
`default_nettype wire
